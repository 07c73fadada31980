//! The models that a device keeps open between jobs. An open model is light: its networks are the pool's, which gives
//! them up when memory is needed and loads them again when they are.

use std::path::Path;

use easel_engine_protocol::{Dtype, EngineErrorKind, LoadedModel, ModelSource};

use super::device::DeviceName;
use super::open::Open;
use super::stamp::Stamp;
use crate::pipelines::Pipeline;
use crate::pool::Pool;
use crate::{Error, Result};

/// The most models that are open at once; what the one used longest ago shares with no other goes with it.
const MOST: usize = 8;

/// The open models of a device.
pub(super) struct Models {
    device: DeviceName,
    opener: Open,
    pool: Pool,
    /// The one used last is at the end.
    open: Vec<OpenModel>,
    next: u64,
}

struct OpenModel {
    /// Who leases, as the pool knows it.
    id: u64,
    source: ModelSource,
    dtype: Dtype,
    stamp: Stamp,
    pipeline: Box<dyn Pipeline>,
}

impl Models {
    pub(super) fn new(device: DeviceName, opener: Open, pool: Pool) -> Self {
        Self { device, opener, pool, open: Vec::new(), next: 0 }
    }

    /// The open models, the one used last first.
    pub(super) fn list(&self) -> Vec<LoadedModel> {
        let loaded = |model: &OpenModel| LoadedModel {
            path: model.source.path.clone(),
            device: self.device.to_string(),
            dtype: model.dtype,
        };
        self.open.iter().rev().map(loaded).collect()
    }

    /// The model, opened if it is not or if its files have changed since. `loading` is told before it is opened. What
    /// was open stays so, whether this succeeds or not; its networks leave only when there is no room for both.
    pub(super) fn get(&mut self, source: &ModelSource, dtype: Dtype, loading: impl FnOnce()) -> Result<&dyn Pipeline> {
        let stamp = Stamp::of(source);
        let place = self.open.iter().position(|model| model.source == *source && model.dtype == dtype);
        let is_open = place
            .and_then(|place| self.open.get(place))
            .is_some_and(|model| stamp.as_ref().is_ok_and(|stamp| *stamp == model.stamp));
        let model = if let Some(place) = place.filter(|_| is_open) {
            self.open.remove(place)
        } else {
            loading();
            let id = self.next;
            self.next += 1;
            let opened = self.open_new(id, source, dtype, stamp).inspect_err(|_| self.pool.forget(id))?;
            if let Some(place) = place {
                self.pool.forget(self.open.remove(place).id);
            }
            opened
        };
        self.pool.used_by(model.id);
        self.open.push(model);
        if self.open.len() > MOST {
            self.pool.forget(self.open.remove(0).id);
        }
        let last = self.open.last().ok_or_else(|| Error::internal("the model was opened and is gone"))?;
        Ok(&*last.pipeline)
    }

    fn open_new(
        &self,
        id: u64,
        source: &ModelSource,
        dtype: Dtype,
        stamp: std::io::Result<Stamp>,
    ) -> Result<OpenModel> {
        self.pool.used_by(id);
        let pipeline = (self.opener)(source, self.device.torch(), dtype)?;
        match self.pool.load_together(|| pipeline.load(&self.pool)) {
            // They do not fit all at once; whether they do one after the other is told when a job is admitted.
            Err(error) if error.kind() == EngineErrorKind::OutOfMemory => {
                tracing::info!(model = %source.path.display(), %error, "the model's networks come and go");
            }
            loaded => loaded?,
        }
        let stamp = stamp.map_err(|error| Error::broken(format!("{}: {error}", source.path.display())))?;
        Ok(OpenModel { id, source: source.clone(), dtype, stamp, pipeline })
    }

    /// Closes the model that was used last.
    pub(super) fn forget_last(&mut self) {
        if let Some(model) = self.open.pop() {
            self.pool.forget(model.id);
        }
    }

    /// Closes the models at `path`, or all, and lets go of all networks that nobody uses. Gives how many were closed.
    pub(super) fn close(&mut self, path: Option<&Path>) -> usize {
        let before = self.open.len();
        let pool = &self.pool;
        self.open.retain(|model| {
            let stays = path.is_some_and(|path| model.source.path != path);
            if !stays {
                pool.forget(model.id);
            }
            stays
        });
        if path.is_none() {
            pool.clear();
        }
        before - self.open.len()
    }
}
