//! Pictures of several requests through the steps: which stand in one call of the network, and what it is told of each.

use std::cell::RefCell;
use std::rc::Rc;

use tch::Tensor;

use super::crowd::{self, Crowd, Segment};
use super::job::Member;
use super::{Checked, Maker, Start, lockstep};
use crate::pipelines::denoise::{Watched, denoise};
use crate::pipelines::noise::Noise;
use crate::pipelines::{Picture, Request, Sampler};
use crate::pool::{PhaseKind, Pool};
use crate::{Error, Result};

/// What the network is told of some pictures, call by call; and of which members, how many each.
type Known<T> = (Vec<(usize, usize)>, Vec<Call<T>>);

/// One of the calls of the network that make a step.
struct Call<T> {
    /// Of which members, and how many pictures of each.
    counts: Vec<(usize, usize)>,
    /// How many pictures.
    pictures: i64,
    /// Calls of the same counts share it.
    told: Rc<T>,
}

/// Requests whose pictures can stand in one batch.
pub(super) struct Batch<'a, M: Maker + ?Sized> {
    maker: &'a M,
    members: Vec<Member<'a, M>>,
    /// Kept from one chunk to the next.
    known: Option<Known<M::Told>>,
}

impl<'a, M: Maker + ?Sized> Batch<'a, M> {
    /// Those of these members.
    pub fn new(maker: &'a M, members: Vec<Member<'a, M>>) -> Self {
        Self { maker, members, known: None }
    }

    /// Makes all pictures, as many at once as there is room for.
    pub fn make(mut self, pool: &Pool) -> Vec<(usize, Result<Vec<Picture>>)> {
        let rows: Vec<(usize, u32, u64)> = (0..)
            .zip(&self.members)
            .flat_map(|(at, member)| (0..).zip(&member.job.request.seeds).map(move |(image, seed)| (at, image, *seed)))
            .collect();
        let together = if self.members.len() > 1 && lockstep(self.maker) { rows.len() } else { self.at_once() };
        for chunk in rows.chunks(together.max(1)) {
            let mut segments: Vec<Segment> = Vec::new();
            for &(member, image, seed) in chunk {
                if self.members.get(member).is_none_or(|member| member.made.is_err()) {
                    continue;
                }
                match segments.last_mut().filter(|segment| segment.member == member) {
                    Some(segment) => segment.seeds.push(seed),
                    None => segments.push(Segment { member, first: image, seeds: vec![seed] }),
                }
            }
            if !segments.is_empty() {
                self.make_some(&segments, pool);
            }
        }
        self.members.into_iter().map(|member| (member.place, member.made)).collect()
    }

    /// How many pictures go through the network in one call.
    fn at_once(&self) -> usize {
        let admitted = self.members.first().map_or(1, |member| member.job.admission.together());
        usize::try_from(admitted).unwrap_or(1)
    }

    /// What the network is told of some pictures of these members.
    fn calls(
        &self,
        network: &M::Network,
        (request, times): (&Request, &[f64]),
        counts: &[(usize, usize)],
    ) -> Result<Vec<Call<M::Told>>> {
        let rows: Vec<usize> = counts.iter().flat_map(|&(member, count)| std::iter::repeat_n(member, count)).collect();
        let mut calls: Vec<Call<M::Told>> = Vec::new();
        for rows in rows.chunks(self.at_once().max(1)) {
            let each = rows.chunk_by(|a, b| a == b).filter_map(|same| Some((*same.first()?, same.len())));
            let counts: Vec<(usize, usize)> = each.collect();
            let told = if let Some(same) = calls.iter().find(|call| call.counts == counts) {
                Rc::clone(&same.told)
            } else {
                let texts = counts.iter().filter_map(|&(at, count)| Some((&self.members.get(at)?.job.texts, count)));
                Rc::new(self.maker.told(request, network, &texts.collect::<Vec<_>>(), times)?)
            };
            let pictures = i64::try_from(rows.len()).unwrap_or(i64::MAX);
            calls.push(Call { counts, pictures, told });
        }
        Ok(calls)
    }

    fn make_some(&mut self, segments: &[Segment], pool: &Pool) {
        let drawn = self.draw(segments, pool);
        let mut rows = 0..;
        for segment in segments {
            let Some(member) = self.members.get_mut(segment.member) else { continue };
            for ((image, &seed), row) in (segment.first..).zip(&segment.seeds).zip(&mut rows) {
                member.decode(&drawn, row, (image, seed), pool);
            }
        }
    }

    /// `(n, channels, h, w)`: the latents of these pictures.
    fn draw(&mut self, segments: &[Segment], pool: &Pool) -> Result<Tensor> {
        let maker = self.maker;
        let gone = || Error::internal("a request is gone");
        let Some(leader) = segments.first().and_then(|segment| self.members.get(segment.member)) else {
            return Err(gone());
        };
        // What is the same for all is taken from the first.
        let (request, checked) = (leader.job.request, Rc::clone(&leader.job.checked));
        let admission = Rc::clone(&leader.job.admission);
        let Checked { adapters, schedule, begin, size, .. } = &*checked;
        let sampler = Sampler::new(schedule, *begin)?;
        let (mut starts, mut noises) = (Vec::new(), Vec::new());
        for segment in segments {
            let member = self.members.get_mut(segment.member).ok_or_else(gone)?;
            let mut noise = Noise::of(&segment.seeds, &[maker.common().vae.latent_channels, size.0, size.1])?;
            let mut watched = Watched { observer: &mut *member.observer, first: segment.first, preview: None };
            let work = &member.job.checked.work;
            starts.push(maker.begin(&member.job.source, work, &sampler, &mut noise, &mut watched)?);
            noises.push(noise);
        }
        let Start { latents, kept, beside } = Start::joined(starts)?;
        let mut noise = Noise::joined(noises);

        let network = maker.network(adapters, pool)?;
        let _computing = admission.enter(PhaseKind::Denoise)?;
        for segment in segments {
            let member = self.members.get_mut(segment.member).ok_or_else(gone)?;
            if !member.told {
                network.warnings().iter().for_each(|warning| member.observer.warn(warning));
            }
        }
        let counts: Vec<_> = segments.iter().map(|segment| (segment.member, segment.seeds.len())).collect();
        let known = self.known.take().filter(|(known, _)| *known == counts).map(|(_, calls)| calls);
        let calls = if let Some(calls) = known {
            calls
        } else {
            let times = (0..sampler.len()).map(|i| sampler.timestep(i)).collect::<Result<Vec<_>>>()?;
            self.calls(&network, (request, &times), &counts)?
        };
        for segment in segments {
            let member = self.members.get_mut(segment.member).ok_or_else(gone)?;
            if !member.told {
                member.observer.encoded();
                member.told = true;
            }
        }
        let members = RefCell::new(std::mem::take(&mut self.members));
        let mut predict = |sample: &Tensor, timestep: f64| {
            if let [only] = calls.as_slice() {
                return maker.predicted(&network, sample, timestep, beside.as_ref(), &only.told);
            }
            let mut said = Vec::with_capacity(calls.len());
            let mut row = 0;
            for Call { counts, pictures, told } in &calls {
                let rows = |tensor: &Tensor| tensor.f_narrow(0, row, *pictures);
                let sample = rows(sample)?;
                said.push(if crowd::is_awaited(&mut members.borrow_mut(), counts) {
                    let beside = beside.as_ref().map(|[mask, masked]| Ok::<_, Error>([rows(mask)?, rows(masked)?]));
                    maker.predicted(&network, &sample, timestep, beside.transpose()?.as_ref(), told)?
                } else {
                    sample
                });
                row += pictures;
            }
            Ok(Tensor::f_cat(&said, 0)?)
        };
        let mut crowd = Crowd { members: &members, segments };
        let drawn = denoise(sampler, latents, &mut noise, &mut predict, kept.as_ref(), &mut crowd);
        self.members = members.into_inner();
        self.known = Some((counts, calls));
        drawn
    }
}
