//! Which numbers each network computes in: one table of families and number types, and what a device makes of it. It
//! computes nothing.

use easel_engine_protocol::{Dtype, PipelineKind};
use tch::{Device, Kind};

/// A kind of network, as far as number types go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Network {
    /// What denoises: a UNet or FLUX's transformer, which cuts off what half precision does not hold.
    Denoiser,
    /// A CLIP text encoder.
    Clip,
    /// A T5 text encoder. Its states grow beyond what half precision holds (Raffel et al. 2020 trained it in bfloat16).
    T5,
    /// A VAE.
    Vae {
        /// Whether its states grow beyond half precision: `force_upcast`, where the family heeds it.
        overflows: bool,
    },
}

/// What a network computes in where `dtype` is wished. Nothing is ever less exact than the wish; what would overflow in half
/// precision is in the type next to it that does not: bfloat16 where memory counts, single precision where pixels do.
pub fn kind(network: Network, dtype: Dtype) -> Kind {
    match (dtype, network) {
        (Dtype::Fp32, _) | (Dtype::Fp16, Network::Vae { overflows: true }) => Kind::Float,
        (Dtype::Bf16, _) | (Dtype::Fp16, Network::T5) => Kind::BFloat16,
        (Dtype::Fp16, Network::Denoiser | Network::Clip | Network::Vae { overflows: false }) => Kind::Half,
    }
}

/// What a job computes in when it does not say: what the family was trained in where the device is quick in it.
pub fn default_dtype(device: Device, pipeline: PipelineKind) -> Dtype {
    match (device, pipeline) {
        (Device::Cuda(_), PipelineKind::Sd | PipelineKind::Sdxl) => Dtype::Fp16,
        (Device::Cuda(_), PipelineKind::Flux) => Dtype::Bf16,
        (Device::Cpu | Device::Mps | Device::Vulkan, _) => Dtype::Fp32,
    }
}

/// A sentence where the device can compute in `dtype`, but has no instructions for it: it then takes half the memory and
/// several times as long.
pub fn warning(device: Device, dtype: Dtype) -> Option<String> {
    let (name, native) = match dtype {
        Dtype::Fp32 => return None,
        Dtype::Bf16 => ("bf16", has_bf16()),
        Dtype::Fp16 => ("fp16", has_fp16()),
    };
    (device == Device::Cpu && !native)
        .then(|| format!("this processor has no instructions for {name}: fp32 is quicker, with twice the memory"))
}

#[cfg(target_arch = "x86_64")]
fn has_bf16() -> bool {
    std::arch::is_x86_feature_detected!("avx512bf16")
}

#[cfg(target_arch = "x86_64")]
fn has_fp16() -> bool {
    std::arch::is_x86_feature_detected!("avx512fp16")
}

#[cfg(not(target_arch = "x86_64"))]
fn has_bf16() -> bool {
    cfg!(target_feature = "bf16")
}

#[cfg(not(target_arch = "x86_64"))]
fn has_fp16() -> bool {
    cfg!(target_feature = "fp16")
}

#[cfg(test)]
mod tests {
    use easel_engine_protocol::{Dtype, PipelineKind};
    use tch::{Device, Kind};

    use super::{Network, default_dtype, kind, warning};

    const ALL: [Network; 5] = [
        Network::Denoiser,
        Network::Clip,
        Network::T5,
        Network::Vae { overflows: true },
        Network::Vae { overflows: false },
    ];

    #[test]
    fn the_table() {
        let row = |dtype| ALL.map(|network| kind(network, dtype));
        let (float, brain, half) = (Kind::Float, Kind::BFloat16, Kind::Half);
        assert_eq!(row(Dtype::Fp32), [float; 5]);
        assert_eq!(row(Dtype::Bf16), [brain; 5]);
        assert_eq!(row(Dtype::Fp16), [half, half, brain, float, half]);
    }

    /// The rule behind the table's exceptions, tried with numbers: what exceeds half precision is finite in the stead.
    #[test]
    fn what_overflows_half_precision_is_in_a_type_that_holds_it() {
        let large = tch::Tensor::from_slice(&[1e5_f32]);
        let holds = |kind: Kind| bool::try_from(large.to_kind(kind).isfinite().all()).unwrap();
        assert!(!holds(Kind::Half));
        for network in [Network::T5, Network::Vae { overflows: true }] {
            assert!([Dtype::Fp32, Dtype::Bf16, Dtype::Fp16].iter().all(|dtype| holds(kind(network, *dtype))));
        }
    }

    #[test]
    fn what_a_job_gets_that_does_not_say() {
        let of = |device| {
            [PipelineKind::Sd, PipelineKind::Sdxl, PipelineKind::Flux].map(|pipeline| default_dtype(device, pipeline))
        };
        assert_eq!(of(Device::Cpu), [Dtype::Fp32; 3]);
        assert_eq!(of(Device::Cuda(1)), [Dtype::Fp16, Dtype::Fp16, Dtype::Bf16]);
    }

    #[test]
    fn only_a_processor_without_the_instructions_is_warned_of() {
        assert_eq!(warning(Device::Cpu, Dtype::Fp32), None);
        assert_eq!(warning(Device::Cuda(0), Dtype::Fp16), None);
        assert_eq!(warning(Device::Cpu, Dtype::Bf16).is_none(), super::has_bf16());
    }
}
