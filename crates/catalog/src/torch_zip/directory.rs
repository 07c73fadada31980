//! The directory of a zip file, read strictly: both descriptions of an entry must agree, entries must be stored, and none
//! may reach into another. Format: <https://pkware.cachefly.net/webdocs/casestudies/APPNOTE.TXT>, sections 4.3 and 4.5.

use std::collections::HashSet;
use std::io::{Read, Seek};

use crate::Result;
use crate::bytes::{Fields, Source};
use crate::contents::MAX_TENSORS;
use crate::pickle::Extent;

/// A file in the zip.
#[derive(Debug)]
pub(super) struct Entry {
    pub name: String,
    /// Where its bytes lie in the zip.
    pub data: Extent,
}

const MAX_ENTRIES: u64 = MAX_TENSORS as u64 + 64;
const MAX_DIRECTORY_BYTES: u64 = 8 << 20;
const MAX_NAME_BYTES: usize = 512;

const LOCAL: u32 = 0x0403_4b50;
const CENTRAL: u32 = 0x0201_4b50;
const END: u32 = 0x0605_4b50;
const END_64: u32 = 0x0606_4b50;
const LOCATOR_64: u32 = 0x0706_4b50;

const LOCAL_BYTES: u64 = 30;
const END_BYTES: u64 = 22;
const END_64_BYTES: u64 = 56;
const LOCATOR_BYTES: u64 = 20;
const MAX_COMMENT: u64 = 0xffff;

const FLAG_ENCRYPTED: u16 = 1;
const FLAG_SIZES_FOLLOW: u16 = 8;
const STORED: u16 = 0;

/// Reads all entries, in the order of their bytes.
pub(super) fn read<F: Read + Seek>(source: &mut Source<'_, F>) -> Result<Vec<Entry>> {
    let directory = find(source)?;
    if directory.entries > MAX_ENTRIES {
        return source.refuse(format!("a zip of {} entries, at most {MAX_ENTRIES} are read", directory.entries));
    }
    if directory.place.len > MAX_DIRECTORY_BYTES {
        let len = directory.place.len;
        return source.refuse(format!("a zip directory of {len} bytes, at most {MAX_DIRECTORY_BYTES} are read"));
    }
    let bytes = source.read(directory.place.offset, directory.place.len)?;
    let mut fields = Fields(&bytes);
    let mut centrals = Vec::new();
    for index in 0..directory.entries {
        let Some(central) = central(&mut fields) else {
            return source.refuse(format!("entry {index} of the zip directory cannot be read"));
        };
        match central.check() {
            Ok(()) => centrals.push(central),
            Err(reason) => return source.refuse(reason),
        }
    }
    if !fields.0.is_empty() {
        return source.refuse(format!("the zip directory has {} bytes more than its entries", fields.0.len()));
    }
    centrals.sort_by_key(|central| central.offset);
    let mut names = HashSet::with_capacity(centrals.len());
    let mut entries = Vec::with_capacity(centrals.len());
    let mut free = 0;
    for central in centrals {
        if central.offset < free {
            return source.refuse(format!("zip entry `{}` overlaps the one before it", central.name));
        }
        let data = local(source, &central)?;
        free = data.offset.saturating_add(data.len);
        if free > directory.place.offset {
            return source.refuse(format!("zip entry `{}` reaches into the directory of the zip", central.name));
        }
        if !names.insert(central.name.clone()) {
            return source.refuse(format!("zip entry `{}` stands twice", central.name));
        }
        entries.push(Entry { name: central.name, data });
    }
    Ok(entries)
}

/// Where the directory lies.
struct Directory {
    place: Extent,
    entries: u64,
}

/// Finds the directory by the record at the end of the file, and by that of zip64 before it where there is one.
fn find<F: Read + Seek>(source: &mut Source<'_, F>) -> Result<Directory> {
    let tail_len = source.len.min(END_BYTES + MAX_COMMENT);
    let tail_start = source.len - tail_len;
    let tail = source.read(tail_start, tail_len)?;
    // The comment ends with the file: the record that says so is the one.
    let found = (0..tail.len()).rev().find_map(|at| {
        let mut fields = Fields(tail.get(at..)?);
        let end = end(&mut fields)?;
        (fields.0.len() == usize::from(end.comment)).then_some((tail_start + at as u64, end))
    });
    let Some((at, end)) = found else {
        return source.refuse("a zip without its directory: the file is truncated");
    };
    if end.disks != [0, 0] {
        return source.refuse("a zip in several parts");
    }
    let mut directory = Directory {
        place: Extent { offset: u64::from(end.offset), len: u64::from(end.size) },
        entries: u64::from(end.entries),
    };
    let mut directory_end = at;
    let locator_at = at.checked_sub(LOCATOR_BYTES + END_64_BYTES).map(|start| start + END_64_BYTES);
    if let Some(locator_at) = locator_at {
        let bytes = source.read(locator_at, LOCATOR_BYTES)?;
        if let Some(place) = locator_64(&mut Fields(&bytes)) {
            // What stands between the record and its locator could be anything: torch leaves no gap.
            if place != locator_at - END_64_BYTES {
                return source.refuse("the zip64 record of the zip is not where it should be");
            }
            let bytes = source.read(place, END_64_BYTES)?;
            let Some((wide, directory_64)) = end_64(&mut Fields(&bytes)) else {
                return source.refuse("the zip64 record of the zip cannot be read");
            };
            let agrees = (end.entries == u16::MAX || u64::from(end.entries) == wide.entries)
                && (end.size == u32::MAX || u64::from(end.size) == wide.place.len)
                && (end.offset == u32::MAX || u64::from(end.offset) == wide.place.offset);
            if !agrees || !directory_64 {
                return source.refuse("the two directory records of the zip do not agree");
            }
            directory = wide;
            directory_end = place;
        }
    }
    if directory.place.offset.checked_add(directory.place.len) != Some(directory_end) {
        return source.refuse(format!(
            "the directory of the zip is said to lie at {} with {} bytes, which does not end where its record begins",
            directory.place.offset, directory.place.len
        ));
    }
    Ok(directory)
}

struct End {
    disks: [u16; 2],
    entries: u16,
    size: u32,
    offset: u32,
    comment: u16,
}

fn end(fields: &mut Fields<'_>) -> Option<End> {
    if fields.u32()? != END {
        return None;
    }
    let disks = [fields.u16()?, fields.u16()?];
    let here = fields.u16()?;
    let entries = fields.u16()?;
    let (size, offset, comment) = (fields.u32()?, fields.u32()?, fields.u16()?);
    (here == entries).then_some(End { disks, entries, size, offset, comment })
}

/// Where the zip64 record is said to lie.
fn locator_64(fields: &mut Fields<'_>) -> Option<u64> {
    (fields.u32()? == LOCATOR_64).then_some(())?;
    let _disk = fields.u32()?;
    fields.u64()
}

/// The directory by the zip64 record, and whether it is in one part.
fn end_64(fields: &mut Fields<'_>) -> Option<(Directory, bool)> {
    (fields.u32()? == END_64).then_some(())?;
    let _size = fields.u64()?;
    let _versions = fields.u32()?;
    let disks = fields.u64()?;
    let (here, entries) = (fields.u64()?, fields.u64()?);
    let (len, offset) = (fields.u64()?, fields.u64()?);
    Some((Directory { place: Extent { offset, len }, entries }, disks == 0 && here == entries))
}

/// An entry as the directory describes it.
struct Central {
    name: String,
    flags: u16,
    method: u16,
    packed: u64,
    len: u64,
    offset: u64,
}

impl Central {
    fn check(&self) -> Result<(), String> {
        let name: String = self.name.chars().take(80).collect();
        if self.name.len() > MAX_NAME_BYTES {
            return Err(format!("a zip entry's name of {} bytes", self.name.len()));
        }
        if self.flags & FLAG_ENCRYPTED != 0 {
            return Err(format!("zip entry `{name}` is encrypted"));
        }
        if self.method != STORED {
            return Err(format!(
                "zip entry `{name}` is compressed, and cannot be mapped; load the file in Python and torch.save it anew"
            ));
        }
        if self.packed != self.len {
            return Err(format!("zip entry `{name}` has {} bytes stored for {}", self.packed, self.len));
        }
        Ok(())
    }
}

fn central(fields: &mut Fields<'_>) -> Option<Central> {
    (fields.u32()? == CENTRAL).then_some(())?;
    let _versions = fields.u32()?;
    let (flags, method) = (fields.u16()?, fields.u16()?);
    let _time_and_crc = fields.u64()?;
    let (packed, len) = (fields.u32()?, fields.u32()?);
    let (name_len, extra_len, comment_len) = (fields.u16()?, fields.u16()?, fields.u16()?);
    let disk = fields.u16()?;
    let _attributes = fields.take(6)?;
    let offset = fields.u32()?;
    let name = std::str::from_utf8(fields.take(usize::from(name_len))?).ok()?.to_owned();
    let extra = fields.take(usize::from(extra_len))?;
    let _comment = fields.take(usize::from(comment_len))?;
    let mut wide = Fields(extra_64(extra)?);
    let mut widen = |narrow: u32| if narrow == u32::MAX { wide.u64() } else { Some(u64::from(narrow)) };
    // The order of the fields of zip64 is not that of the entry.
    let len = widen(len)?;
    let packed = widen(packed)?;
    let offset = widen(offset)?;
    (disk == 0 || disk == u16::MAX).then_some(Central { name, flags, method, packed, len, offset })
}

/// The zip64 field among the extra ones; empty where there is none.
fn extra_64(extra: &[u8]) -> Option<&[u8]> {
    let mut fields = Fields(extra);
    while fields.0.len() >= 4 {
        let (id, len) = (fields.u16()?, fields.u16()?);
        let field = fields.take(usize::from(len))?;
        if id == 1 {
            return Some(field);
        }
    }
    Some(&[])
}

/// Where the bytes of an entry lie, by the header before them, which must tell the same as the directory.
fn local<F: Read + Seek>(source: &mut Source<'_, F>, central: &Central) -> Result<Extent> {
    let head = LOCAL_BYTES + central.name.len() as u64;
    let bytes = source.read(central.offset, head)?;
    let Some(local) = local_header(&mut Fields(&bytes)) else {
        return source.refuse(format!("zip entry `{}` has no header at {}", central.name, central.offset));
    };
    let follow = local.flags & FLAG_SIZES_FOLLOW != 0;
    let fits = |narrow: u32, wide: u64| narrow == u32::MAX || u64::from(narrow) == wide || follow && narrow == 0;
    let agrees = local.name == central.name.as_bytes()
        && local.method == central.method
        && fits(local.packed, central.packed)
        && fits(local.len, central.len);
    if !agrees {
        return source.refuse(format!("zip entry `{}` and its header do not agree", central.name));
    }
    // Cannot overflow: the header was read from the file.
    let offset = central.offset + head + u64::from(local.extra_len);
    if offset.checked_add(central.len).is_none_or(|end| end > source.len) {
        return source.refuse(format!("zip entry `{}` claims {} bytes, past the end", central.name, central.len));
    }
    Ok(Extent { offset, len: central.len })
}

struct Local<'b> {
    flags: u16,
    method: u16,
    packed: u32,
    len: u32,
    extra_len: u16,
    name: &'b [u8],
}

fn local_header<'b>(fields: &mut Fields<'b>) -> Option<Local<'b>> {
    (fields.u32()? == LOCAL).then_some(())?;
    let _version = fields.u16()?;
    let (flags, method) = (fields.u16()?, fields.u16()?);
    let _time_and_crc = fields.u64()?;
    let (packed, len) = (fields.u32()?, fields.u32()?);
    let (name_len, extra_len) = (fields.u16()?, fields.u16()?);
    let name = fields.0;
    (usize::from(name_len) == name.len()).then_some(Local { flags, method, packed, len, extra_len, name })
}
