//! Which addresses are public. Everything that a registry sets aside for another use is not, nor is whatever embeds an
//! IPv4 address in an IPv6 one.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// IPv4 blocks that are not public: the special-purpose registry of IANA (RFC 6890), multicast, and the addresses at
/// which clouds serve metadata from within public blocks.
const NOT_PUBLIC_V4: &[(Ipv4Addr, u32)] = &[
    (Ipv4Addr::UNSPECIFIED, 8),            // this network; 0.0.0.0 reaches this machine
    (Ipv4Addr::new(10, 0, 0, 0), 8),       // private
    (Ipv4Addr::new(100, 64, 0, 0), 10),    // shared by carriers; 100.100.100.200 serves metadata
    (Ipv4Addr::new(127, 0, 0, 0), 8),      // loopback
    (Ipv4Addr::new(168, 63, 129, 16), 32), // Azure's host, from within a virtual machine
    (Ipv4Addr::new(169, 254, 0, 0), 16),   // link-local; 169.254.169.254 serves metadata
    (Ipv4Addr::new(172, 16, 0, 0), 12),    // private
    (Ipv4Addr::new(192, 0, 0, 0), 24),     // protocol assignments; 192.0.0.192 serves metadata
    (Ipv4Addr::new(192, 0, 2, 0), 24),     // documentation
    (Ipv4Addr::new(192, 88, 99, 0), 24),   // relays of 6to4
    (Ipv4Addr::new(192, 168, 0, 0), 16),   // private
    (Ipv4Addr::new(198, 18, 0, 0), 15),    // benchmarks
    (Ipv4Addr::new(198, 51, 100, 0), 24),  // documentation
    (Ipv4Addr::new(203, 0, 113, 0), 24),   // documentation
    (Ipv4Addr::new(224, 0, 0, 0), 4),      // multicast
    (Ipv4Addr::new(240, 0, 0, 0), 4),      // reserved, and broadcast
];

/// Global unicast (RFC 4291): nothing outside of it is public. Left out are thus `::`, `::1`, addresses that are
/// mapped, compatible with or translated to IPv4, NAT64, the discard block, unique local, link-local, site-local and
/// multicast ones.
const GLOBAL_V6: (Ipv6Addr, u32) = (Ipv6Addr::new(0x2000, 0, 0, 0, 0, 0, 0, 0), 3);

/// IPv6 blocks within global unicast that are not public.
const NOT_PUBLIC_V6: &[(Ipv6Addr, u32)] = &[
    (Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0), 23), // protocol assignments: Teredo, benchmarks, ORCHID
    (Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0), 32), // documentation
    (Ipv6Addr::new(0x2002, 0, 0, 0, 0, 0, 0, 0), 16), // 6to4
    (Ipv6Addr::new(0x3fff, 0, 0, 0, 0, 0, 0, 0), 20), // documentation
];

/// Endings of names that never mean a public host: RFC 6761, 6762 and 8375, and the one that ICANN has set aside.
const NOT_PUBLIC_NAMES: &[&str] = &["localhost", "local", "home.arpa", "internal"];

/// Whether an address belongs to the public internet.
pub(super) fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => !NOT_PUBLIC_V4.iter().any(|(block, length)| {
            let mask = u32::MAX << (32 - length);
            address.to_bits() & mask == block.to_bits()
        }),
        IpAddr::V6(address) => {
            let is_in = |(block, length): (Ipv6Addr, u32)| {
                let mask = u128::MAX << (128 - length);
                address.to_bits() & mask == block.to_bits()
            };
            is_in(GLOBAL_V6) && !NOT_PUBLIC_V6.iter().copied().any(is_in)
        }
    }
}

/// Whether a name could mean a public host; what it resolves to is another question. The name is in lower case.
pub(super) fn may_be_public(name: &str) -> bool {
    let name = name.trim_end_matches('.');
    !NOT_PUBLIC_NAMES
        .iter()
        .any(|ending| name.strip_suffix(ending).is_some_and(|before| before.is_empty() || before.ends_with('.')))
}
