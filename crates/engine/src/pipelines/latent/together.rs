//! Requests that differ in what they show, each with its pictures, through the UNet together. A request alone is the
//! simplest case of that. What a request is told, and whether it goes on, is its own.

use std::cell::Cell;
use std::rc::Rc;

use tch::{Device, Tensor};

use super::start::Start;
use super::{Checked, Family, Job, network};
use crate::models::UNet;
use crate::models::unet::Conditioning;
use crate::pictures::Pixels;
use crate::pipelines::denoise::{Clean, Done, Watch, Watched, denoise};
use crate::pipelines::guidance::Guidance;
use crate::pipelines::noise::Noise;
use crate::pipelines::{Observer, Picture, Request, Sampler, Together};
use crate::pool::{Admission, PhaseKind, Pool};
use crate::{Error, Result};

/// Makes the pictures of requests; one result for each, in their order.
pub fn generate(family: &dyn Family, requests: &mut [Together<'_>], pool: &Pool) -> Vec<Result<Vec<Picture>>> {
    let _no_grad = tch::no_grad_guard();
    let checked: Vec<Result<Checked>> = requests.iter().map(|one| Checked::of(family, one.request)).collect();
    let admission = match admit(family, requests, &checked, pool) {
        Ok(admission) => admission.map(Rc::new),
        // Each is told what it would be told alone, and made if it fits alone.
        Err(_) if requests.len() > 1 => {
            return requests.chunks_mut(1).flat_map(|alone| generate(family, alone, pool)).collect();
        }
        Err(error) => return vec![Err(error)],
    };
    let mut results: Vec<Result<Vec<Picture>>> = requests.iter().map(|_| Ok(Vec::new())).collect();
    let mut groups: Vec<Vec<Member<'_>>> = Vec::new();
    for (((one, checked), place), result) in requests.iter_mut().zip(checked).zip(0..).zip(&mut results) {
        let admission = admission.as_ref().map(Rc::clone).ok_or_else(|| Error::internal("nothing was admitted"));
        let opened =
            checked.and_then(|checked| Job::open(family, one.request, checked, admission?, pool, one.observer));
        match opened {
            Ok(job) => {
                let member = Member { place, job, observer: &mut *one.observer, told: false, made: Ok(Vec::new()) };
                // Longer texts are read in more rows; each has its own length.
                match groups.iter_mut().find(|group| group.first().is_some_and(|first| first.reads_as(&member))) {
                    Some(group) => group.push(member),
                    None => groups.push(vec![member]),
                }
            }
            Err(error) => *result = Err(error),
        }
    }
    for group in groups {
        let batch = Batch { family, members: group, known: None };
        for (place, made) in batch.make(pool) {
            if let Some(result) = results.get_mut(place) {
                *result = made;
            }
        }
    }
    results
}

/// Asks for the memory of all that can be done; `None` where nothing can.
fn admit(
    family: &dyn Family,
    requests: &[Together<'_>],
    checked: &[Result<Checked>],
    pool: &Pool,
) -> Result<Option<Admission>> {
    let can_be = requests.iter().zip(checked).filter_map(|(one, checked)| Some((one.request, checked.as_ref().ok()?)));
    let Some((first, checked)) = can_be.clone().next() else { return Ok(None) };
    let seeds: Vec<u64> = can_be.flat_map(|(request, _)| request.seeds.clone()).collect();
    let together = if requests.len() > 1 && !lockstep(family) { seeds.len() } else { first.together };
    let all = Request { seeds, together, image: None, mask: None, ..first.clone() };
    family.model().admit(&all, &checked.work, &checked.adapters, pool).map(Some)
}

/// Whether requests go through the steps side by side, but each picture through the UNet by itself: on a processor, which
/// gains little by a batch, every picture is then what it is alone to the bit.
fn lockstep(family: &dyn Family) -> bool {
    family.model().device == Device::Cpu
}

/// A request on its way, with who watches it.
struct Member<'a> {
    /// Its place among the requests.
    place: usize,
    job: Job<'a>,
    observer: &'a mut dyn Observer,
    /// Whether it has heard that its prompts are encoded.
    told: bool,
    /// Its pictures so far, or why there are no more.
    made: Result<Vec<Picture>>,
}

impl Member<'_> {
    /// Whether its texts and those of `other` can stand in one batch.
    fn reads_as(&self, other: &Self) -> bool {
        let shape = |member: &Self| {
            let texts = &member.job.texts;
            (texts.positive.states.size(), texts.negative.as_ref().map(|negative| negative.states.size()))
        };
        shape(self) == shape(other)
    }

    fn watched(&mut self, first: u32) -> Watched<'_> {
        Watched { observer: &mut *self.observer, first, preview: self.job.preview }
    }

    /// Makes the picture of one row, if it still waits for it.
    fn decode(&mut self, drawn: &Result<Tensor>, row: i64, (image, seed): (u32, u64), pool: &Pool) {
        let Ok(pictures) = &mut self.made else { return };
        let latents = drawn.as_ref().map_err(Clone::clone).and_then(|latents| Ok(latents.f_narrow(0, row, 1)?));
        match latents.and_then(|latents| self.job.decode(&latents, image, pool, self.observer)) {
            Ok(Pixels { width, height, rgb }) => {
                let picture = Picture { seed, width, height, rgb };
                self.observer.picture(image, &picture);
                pictures.push(picture);
            }
            Err(error) => self.made = Err(error),
        }
    }

    /// Ends it, if it has not ended already.
    fn end(&mut self, error: Error) {
        if self.made.is_ok() {
            self.made = Err(error);
        }
    }
}

/// Some pictures of a request that follow each other.
struct Segment {
    /// Which of the members.
    member: usize,
    /// The place of the first in the request.
    first: u32,
    seeds: Vec<u64>,
}

/// What the UNet is told of some pictures, call by call; and of which members, how many each.
type Known = (Vec<(usize, usize)>, Vec<Call>);

/// One of the calls of the UNet that make a step.
struct Call {
    /// Whose pictures.
    members: Vec<usize>,
    /// How many.
    pictures: i64,
    told: Conditioning,
}

/// Requests whose pictures can stand in one batch.
struct Batch<'a> {
    family: &'a dyn Family,
    members: Vec<Member<'a>>,
    /// Kept from one chunk to the next.
    known: Option<Known>,
}

impl Batch<'_> {
    /// Makes all pictures, as many at once as there is room for.
    fn make(mut self, pool: &Pool) -> Vec<(usize, Result<Vec<Picture>>)> {
        let rows: Vec<(usize, u32, u64)> = (0..)
            .zip(&self.members)
            .flat_map(|(at, member)| (0..).zip(&member.job.request.seeds).map(move |(image, seed)| (at, image, *seed)))
            .collect();
        let together = if self.members.len() > 1 && lockstep(self.family) { rows.len() } else { self.at_once() };
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

    /// How many pictures go through the UNet in one call.
    fn at_once(&self) -> usize {
        let admitted = self.members.first().map_or(1, |member| member.job.admission.together());
        usize::try_from(admitted).unwrap_or(1)
    }

    /// What the UNet is told of some pictures of these members.
    fn calls(&self, unet: &UNet, request: &Request, counts: &[(usize, usize)]) -> Result<Vec<Call>> {
        let rows: Vec<usize> = counts.iter().flat_map(|&(member, count)| std::iter::repeat_n(member, count)).collect();
        let call = |rows: &[usize]| {
            let each = rows.chunk_by(|a, b| a == b).filter_map(|same| Some((*same.first()?, same.len())));
            let texts = each.clone().filter_map(|(at, count)| Some((&self.members.get(at)?.job.texts, count)));
            let told = self.family.model().condition(self.family, request, unet, &texts.collect::<Vec<_>>())?;
            let pictures = i64::try_from(rows.len()).unwrap_or(i64::MAX);
            Ok(Call { members: each.map(|(member, _)| member).collect(), pictures, told })
        };
        rows.chunks(self.at_once().max(1)).map(call).collect()
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
        let model = self.family.model();
        let gone = || Error::internal("a request is gone");
        let Some(leader) = segments.first().and_then(|segment| self.members.get(segment.member)) else {
            return Err(gone());
        };
        // What is the same for all is taken from the first.
        let (request, checked) = (leader.job.request, Rc::clone(&leader.job.checked));
        let admission = Rc::clone(&leader.job.admission);
        let Checked { adapters, work, schedule, begin, size } = &*checked;
        let scaling = self.family.scalings(work)[0];
        let sampler = Sampler::new(schedule, *begin)?;
        let (mut starts, mut noises) = (Vec::new(), Vec::new());
        for segment in segments {
            let member = self.members.get_mut(segment.member).ok_or_else(gone)?;
            let mut noise = Noise::of(&segment.seeds, &[model.vae.latent_channels, size.0, size.1])?;
            let mut watched = Watched { observer: &mut *member.observer, first: segment.first, preview: None };
            starts.push(model.start(
                &member.job.source,
                &member.job.checked.work,
                scaling,
                &sampler,
                &mut noise,
                &mut watched,
            )?);
            noises.push(noise);
        }
        let Start { latents, kept, beside } = Start::joined(starts)?;
        let mut noise = Noise::joined(noises);

        let unet = model.lease_unet(adapters, pool)?;
        let _computing = admission.enter(PhaseKind::Denoise)?;
        for segment in segments {
            let member = self.members.get_mut(segment.member).ok_or_else(gone)?;
            if !member.told {
                unet.warnings().iter().for_each(|warning| member.observer.warn(warning));
            }
        }
        let counts: Vec<_> = segments.iter().map(|segment| (segment.member, segment.seeds.len())).collect();
        let known = self.known.take().filter(|(known, _)| *known == counts).map(|(_, calls)| calls);
        let calls = known.map_or_else(|| self.calls(&unet, request, &counts), Ok)?;
        for segment in segments {
            let member = self.members.get_mut(segment.member).ok_or_else(gone)?;
            if !member.told {
                member.observer.encoded();
                member.told = true;
            }
        }
        let guided = self.members.iter().any(|member| member.job.texts.negative.is_some());
        let guidance =
            guided.then_some(Guidance { scale: request.guidance_scale, rescale: request.options.guidance_rescale });
        let ended: Vec<Cell<bool>> = self.members.iter().map(|member| Cell::new(member.made.is_err())).collect();
        let mut predict = |sample: &Tensor, timestep: f64| {
            if let [only] = calls.as_slice() {
                return network::predict(&unet, sample, timestep, beside.as_ref(), guidance, &only.told);
            }
            let mut said = Vec::with_capacity(calls.len());
            let mut row = 0;
            for Call { members, pictures, told } in &calls {
                let rows = |tensor: &Tensor| tensor.f_narrow(0, row, *pictures);
                let sample = rows(sample)?;
                let has_ended = |at: &usize| ended.get(*at).is_some_and(Cell::get);
                said.push(if members.iter().all(has_ended) {
                    // Nobody waits for it.
                    sample
                } else {
                    let beside = beside.as_ref().map(|[mask, masked]| Ok::<_, Error>([rows(mask)?, rows(masked)?]));
                    network::predict(&unet, &sample, timestep, beside.transpose()?.as_ref(), guidance, told)?
                });
                row += pictures;
            }
            Ok(Tensor::f_cat(&said, 0)?)
        };
        let mut crowd = Crowd { members: &mut self.members, segments, ended: &ended };
        let drawn = denoise(sampler, latents, &mut noise, &mut predict, kept.as_ref(), &mut crowd);
        self.known = Some((counts, calls));
        drawn
    }
}

/// Those who watch the pictures of a batch.
struct Crowd<'c, 'a> {
    members: &'c mut [Member<'a>],
    segments: &'c [Segment],
    /// Which members wait no more.
    ended: &'c [Cell<bool>],
}

impl Crowd<'_, '_> {
    /// Calls `tell` for everyone who still waits, with the rows of what is theirs.
    fn each(&mut self, mut tell: impl FnMut(&mut Watched<'_>, i64, i64) -> Result<()>) {
        let mut row = 0;
        for segment in self.segments {
            let count = i64::try_from(segment.seeds.len()).unwrap_or(i64::MAX);
            if let Some(member) = self.members.get_mut(segment.member).filter(|member| member.made.is_ok())
                && let Err(error) = tell(&mut member.watched(segment.first), row, count)
            {
                member.end(error);
                self.ended.get(segment.member).into_iter().for_each(|ended| ended.set(true));
            }
            row += count;
        }
    }
}

impl Watch for Crowd<'_, '_> {
    fn dump(&mut self, name: &str, tensor: &Tensor) -> Result<()> {
        self.each(|watched, row, count| watched.dump(name, &tensor.f_narrow(0, row, count)?));
        Ok(())
    }

    /// Goes on while anyone waits; rows of those who do not stay in the batch.
    fn step(&mut self, done: Done, clean: &mut Clean<'_>) -> Result<()> {
        let mut seen = None;
        self.each(|watched, row, count| {
            watched.step(Done { pictures: count, ..done }, &mut || {
                if seen.is_none() {
                    seen = Some(clean()?);
                }
                let own = seen.as_ref().and_then(Option::as_ref).map(|all| all.f_narrow(0, row, count));
                Ok(own.transpose()?)
            })
        });
        let waits = |segment: &Segment| self.members.get(segment.member).is_some_and(|member| member.made.is_ok());
        if self.segments.iter().any(waits) { Ok(()) } else { Err(Error::cancelled()) }
    }
}
