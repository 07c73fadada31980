//! One request on its way, and who watches it: its texts and pictures are read, and its latents decoded, by itself.

use std::rc::Rc;

use tch::Tensor;

use super::{Maker, going_on};
use crate::adapters::AdapterSet;
use crate::models::vae::Tiling;
use crate::pictures::Pixels;
use crate::pipelines::denoise::Watched;
use crate::pipelines::preview::Preview;
use crate::pipelines::work::Work;
use crate::pipelines::{Observer, Picture, Request, dump_name, memory, pixels, tell_adapters};
use crate::pool::{Admission, PhaseKind, Pool};
use crate::schedulers::Schedule;
use crate::{Error, Result};

/// What a request comes to, before memory is asked for.
pub struct Checked {
    pub adapters: AdapterSet,
    pub work: Work,
    pub schedule: Schedule,
    /// The run of the schedule that it begins at.
    pub begin: usize,
    /// Height and width in latents.
    pub size: (i64, i64),
}

/// A request, read.
pub(super) struct Job<'a, M: Maker + ?Sized> {
    maker: &'a M,
    pub request: &'a Request,
    pub checked: Rc<Checked>,
    pub texts: M::Texts,
    pub source: M::Source,
    /// That of all requests that are made together.
    pub admission: Rc<Admission>,
    tiling: Option<Tiling>,
    preview: Option<(&'a Preview, u32)>,
}

impl<'a, M: Maker + ?Sized> Job<'a, M> {
    /// Reads the texts and pictures of a request.
    pub fn open(
        maker: &'a M,
        request: &'a Request,
        checked: Checked,
        admission: Rc<Admission>,
        pool: &Pool,
        observer: &mut dyn Observer,
    ) -> Result<Self> {
        let common = maker.common();
        // Those that were asked for, or those that spare memory.
        let tiling = request.tiling.or_else(|| admission.tiled().then(|| memory::tiling(common.vae)));
        for warning in common.warnings.iter().map(String::as_str).chain(admission.warning()) {
            observer.warn(warning);
        }
        tell_adapters(&checked.adapters, observer);
        let texts = {
            let _computing = admission.enter(PhaseKind::EncodeText)?;
            maker.texts(request, &checked.adapters, pool, observer)?
        };
        let source = {
            let reads = checked.work != Work::Text;
            let _computing = reads.then(|| admission.enter(PhaseKind::EncodePicture)).transpose()?;
            maker.source(&checked.work, tiling, pool, observer)?
        };
        let preview = common.preview(request, maker.unscaling(&checked.work), pool)?;
        Ok(Self { maker, request, checked: Rc::new(checked), texts, source, admission, tiling, preview })
    }

    /// What the latents of one picture look like.
    fn decode(&self, latents: &Tensor, image: u32, pool: &Pool, observer: &mut dyn Observer) -> Result<Pixels> {
        let common = self.maker.common();
        let vae = common.lease_decoder(pool)?;
        if image == 0 {
            vae.warnings().iter().for_each(|warning| observer.warn(warning));
        }
        let _computing = self.admission.enter(PhaseKind::Decode)?;
        let scaling = self.maker.unscaling(&self.checked.work);
        let latents = scaling.undo(common.vae, &latents.f_totype(common.vae_kind)?)?;
        let decoded = vae.decode(&latents, self.tiling, &mut || going_on(observer))?;
        let decoded = pixels::to_unit_range(&decoded)?;
        observer.dump(&dump_name(image, "image"), &decoded);
        let rgb = pixels::to_rgb(&decoded)?;
        let made = Pixels { width: self.request.width, height: self.request.height, rgb };
        Ok(match &self.checked.work {
            Work::Inpaint { frame: Some(frame), .. } => frame.with(&made),
            Work::Text | Work::Image { .. } | Work::Inpaint { frame: None, .. } => made,
        })
    }
}

/// A request on its way, with who watches it.
pub(super) struct Member<'a, M: Maker + ?Sized> {
    /// Its place among the requests.
    pub place: usize,
    pub job: Job<'a, M>,
    pub observer: &'a mut dyn Observer,
    /// Whether it has heard that its prompts are encoded.
    pub told: bool,
    /// Its pictures so far, or why there are no more.
    pub made: Result<Vec<Picture>>,
}

impl<'a, M: Maker + ?Sized> Member<'a, M> {
    pub fn new(place: usize, job: Job<'a, M>, observer: &'a mut dyn Observer) -> Self {
        Self { place, job, observer, told: false, made: Ok(Vec::new()) }
    }

    /// Whether its texts and those of `other` can stand in one batch.
    pub fn reads_as(&self, other: &Self) -> bool {
        M::read_alike(&self.job.texts, &other.job.texts)
    }

    pub fn watched(&mut self, first: u32) -> Watched<'_> {
        Watched { observer: &mut *self.observer, first, preview: self.job.preview }
    }

    /// Makes the picture of one row, if it still waits for it.
    pub fn decode(&mut self, drawn: &Result<Tensor>, row: i64, (image, seed): (u32, u64), pool: &Pool) {
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
    pub fn end(&mut self, error: Error) {
        if self.made.is_ok() {
            self.made = Err(error);
        }
    }
}
