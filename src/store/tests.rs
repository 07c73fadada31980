//! Files that are there whole or not at all.

use std::fs;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::Path;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{Draft, Name, Store};

const DAY: Duration = Duration::from_hours(24);

fn name(text: &str) -> Name {
    Name::parse(text).unwrap()
}

fn draft(body: &str, lives: Duration) -> Draft<Value, Vec<Bytes>> {
    let pieces = body.as_bytes().chunks(3).map(Bytes::copy_from_slice).collect();
    let (head, expires) = (json!({ "kind": "a test", "length": body.len() }), SystemTime::now() + lives);
    Draft { head, expires, length: body.len() as u64, body: pieces }
}

fn store(folder: &TempDir) -> Store {
    Store::new(&folder.path().join("room"), 1 << 20)
}

fn read(store: &Store, wanted: &str) -> Option<String> {
    let entry = store.read::<Value>(&name(wanted)).unwrap()?;
    assert_eq!(entry.head["length"], entry.body.len());
    Some(String::from_utf8(entry.body.to_vec()).unwrap())
}

fn files(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<_> = entries.collect();
    names.sort();
    names
}

#[test]
fn what_is_written_is_read_also_by_the_next_process_and_nothing_is_made_before() {
    let folder = tempfile::tempdir().unwrap();
    let first = store(&folder);
    assert_eq!(read(&first, "a"), None);
    assert_eq!(first.sweep().unwrap(), 0);
    assert!(!folder.path().join("room").exists());
    first.write(&name("a"), draft("first\nof two", DAY)).unwrap();
    first.write(&name("a"), draft("second", DAY)).unwrap();
    first.write(&name("empty"), draft("", DAY)).unwrap();
    let next = store(&folder);
    assert_eq!((read(&next, "a").as_deref(), read(&next, "empty").as_deref()), (Some("second"), Some("")));
    assert_eq!(files(&folder.path().join("room")), ["a", "empty"]);
    next.remove(&name("a")).unwrap();
    next.remove(&name("a")).unwrap();
    assert_eq!(read(&next, "a"), None);
}

#[cfg(unix)]
#[test]
fn nobody_else_may_read_it() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().unwrap();
    store(&folder).write(&name("a"), draft("x", DAY)).unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let room = folder.path().join("room");
    assert_eq!((mode(&room), mode(&room.join("a"))), (0o700, 0o600));
}

#[test]
fn what_has_expired_is_not_there_and_goes() {
    let folder = tempfile::tempdir().unwrap();
    let room = store(&folder);
    room.write(&name("gone"), draft("x", Duration::ZERO)).unwrap();
    room.write(&name("there"), draft("y", DAY)).unwrap();
    assert_eq!((read(&room, "gone"), read(&room, "there").as_deref()), (None, Some("y")));
    // The next process finds it, too.
    let next = store(&folder);
    assert_eq!(next.sweep().unwrap(), 1);
    assert_eq!(files(&folder.path().join("room")), ["there"]);
    assert_eq!(room.sweep().unwrap(), 1);
}

#[test]
fn bytes_stay_below_their_bound_and_what_expires_first_makes_room() {
    let folder = tempfile::tempdir().unwrap();
    let room = Store::new(folder.path(), 5 * 4096);
    for (number, hours) in [(0, 5), (1, 1), (2, 3), (3, 4), (4, 2)] {
        room.write(&name(&format!("n{number}")), draft("x", Duration::from_hours(hours))).unwrap();
    }
    assert_eq!(room.bytes().unwrap(), 5 * 4096);
    room.write(&name("new"), draft("x", DAY)).unwrap();
    assert_eq!(files(folder.path()), ["n0", "n2", "n3", "n4", "new"]);
    room.write(&name("large"), draft(&"x".repeat(2 * 4096), DAY)).unwrap();
    assert_eq!(files(folder.path()), ["large", "n0", "new"]);
    let refused = room.write(&name("larger"), draft(&"x".repeat(5 * 4096), DAY)).unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::FileTooLarge);
    assert_eq!(files(folder.path()), ["large", "n0", "new"]);
    // A later process with less room.
    let smaller = Store::new(folder.path(), 2 * 4096);
    smaller.write(&name("n9"), draft("x", Duration::from_hours(48))).unwrap();
    assert!(smaller.bytes().unwrap() <= 2 * 4096);
    assert!(!Store::new(folder.path(), 0).is_on());
}

#[test]
fn a_body_that_breaks_off_leaves_nothing_of_itself_and_all_of_the_earlier_one() {
    let folder = tempfile::tempdir().unwrap();
    let room = store(&folder);
    room.write(&name("a"), draft("before", DAY)).unwrap();
    for length in [0, 4, 6, 1000] {
        let wrong = Draft { length, ..draft("later", DAY) };
        assert!(room.write(&name("a"), wrong).is_err(), "{length}");
    }
    assert_eq!(read(&room, "a").as_deref(), Some("before"));
    assert_eq!(files(&folder.path().join("room")), ["a"]);
    assert_eq!(room.bytes().unwrap(), 4096);
}

#[test]
fn a_file_that_is_not_whole_is_no_file() {
    let folder = tempfile::tempdir().unwrap();
    let room = store(&folder);
    room.write(&name("a"), draft("0123456789", DAY)).unwrap();
    let path = folder.path().join("room/a");
    let whole = fs::read(&path).unwrap();
    let mut longer = whole.clone();
    longer.push(b'x');
    let torn = (0..whole.len()).map(|length| whole[..length].to_vec()).chain([longer]);
    for content in torn {
        fs::write(&path, &content).unwrap();
        assert_eq!(read(&room, "a"), None, "{}", String::from_utf8_lossy(&content));
    }
    // Whoever starts next clears it away.
    store(&folder).sweep().unwrap();
    assert!(files(&folder.path().join("room")).is_empty());
}

#[test]
fn a_file_is_read_in_parts_and_outlives_its_removal() {
    let folder = tempfile::tempdir().unwrap();
    let room = store(&folder);
    room.write(&name("a"), draft("0123456789", DAY)).unwrap();
    let mut opened = room.open::<Value>(&name("a")).unwrap().unwrap();
    assert_eq!((opened.length, &opened.head["kind"]), (10, &json!("a test")));
    assert!(room.holds(&name("a")) && !room.holds(&name("b")));
    room.remove(&name("a")).unwrap();
    assert!(room.open::<Value>(&name("a")).unwrap().is_none() && !room.holds(&name("a")));
    let mut text = String::new();
    opened.file.read_to_string(&mut text).unwrap();
    assert_eq!(text, "0123456789");
    opened.file.seek(SeekFrom::Start(opened.begin + 7)).unwrap();
    text.clear();
    opened.file.read_to_string(&mut text).unwrap();
    assert_eq!(text, "789");
    room.write(&name("short"), draft("x", Duration::ZERO)).unwrap();
    assert!(room.open::<Value>(&name("short")).unwrap().is_none());
}

#[test]
fn what_is_no_file_itself_is_none_of_ours() {
    let folder = tempfile::tempdir().unwrap();
    let (room, other) = (store(&folder), Store::new(&folder.path().join("other"), 1 << 20));
    other.write(&name("a"), draft("somebody else's", DAY)).unwrap();
    room.write(&name("b"), draft("ours", DAY)).unwrap();
    let place = |file: &str| folder.path().join("room").join(file);
    std::os::unix::fs::symlink(folder.path().join("other/a"), place("a")).unwrap();
    fs::create_dir(place("folder")).unwrap();
    for wanted in ["a", "folder"] {
        assert_eq!(read(&room, wanted), None);
        assert!(room.open::<Value>(&name(wanted)).unwrap().is_none());
    }
    // The next process clears the link away, not what it leads to, and leaves the folder.
    let next = store(&folder);
    next.sweep().unwrap();
    assert_eq!((files(&folder.path().join("room")), next.bytes().unwrap()), (vec!["b".into(), "folder".into()], 4096));
    assert_eq!(read(&other, "a").as_deref(), Some("somebody else's"));
}

#[test]
fn unfinished_files_of_others_are_left_alone_while_they_live() {
    let folder = tempfile::tempdir().unwrap();
    let room = store(&folder);
    room.write(&name("a"), draft("x", DAY)).unwrap();
    let (dead, alive) = (folder.path().join("room/.unfinished-1"), folder.path().join("room/.unfinished-2"));
    fs::write(&dead, b"half of some").unwrap();
    let writing = fs::File::create(&alive).unwrap();
    writing.lock().unwrap();
    store(&folder).sweep().unwrap();
    assert_eq!(files(&folder.path().join("room")), [".unfinished-2", "a"]);
    drop(writing);
    store(&folder).sweep().unwrap();
    assert_eq!(files(&folder.path().join("room")), ["a"]);
}

#[test]
fn many_at_once_are_all_there() {
    let folder = tempfile::tempdir().unwrap();
    let room = store(&folder);
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let room = &room;
            scope.spawn(move || {
                for number in 0..10 {
                    let text = format!("{thread}-{number}");
                    room.write(&name(&text), draft(&text, DAY)).unwrap();
                    room.write(&name("same"), draft("the same", DAY)).unwrap();
                    assert_eq!(read(room, "same").as_deref(), Some("the same"));
                    assert_eq!(read(room, &text), Some(text));
                }
            });
        }
    });
    assert_eq!(files(&folder.path().join("room")).len(), 41);
    assert_eq!(room.bytes().unwrap(), 41 * 4096);
}

#[tokio::test]
async fn the_same_without_blocking() {
    let folder = tempfile::tempdir().unwrap();
    let room = store(&folder);
    let wanted = Name::unguessable().with_ending("png").unwrap();
    room.put(wanted.clone(), draft("x", DAY)).await.unwrap();
    let entry = room.get::<Value>(wanted).await.unwrap().unwrap();
    assert_eq!((&entry.body[..], &entry.head["kind"]), (&b"x"[..], &json!("a test")));
    assert_eq!(room.tidy().await.unwrap(), 0);
}

#[test]
fn names_stay_in_their_folder_and_cannot_be_guessed() {
    for text in ["", ".", "..", ".a", "a/b", "../a", "A", "a b", "a\0", "ä", &"a".repeat(121)] {
        assert_eq!(Name::parse(text), None, "{text:?}");
    }
    assert_eq!(name("a-1_b.png").as_str(), "a-1_b.png");
    assert_eq!(Name::of_digest(&[0xab; 32]).as_str(), "ab".repeat(32));
    assert_eq!(name("a").with_ending("../x"), None);
    let (one, other) = (Name::unguessable(), Name::unguessable());
    assert_eq!((one.as_str().len(), Name::parse(one.as_str()).as_ref()), (64, Some(&one)));
    assert_ne!(one, other);
}
