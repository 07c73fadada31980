//! Files that mean harm: every one is refused with a reason, within a second and 64 MiB, and none runs anything. What the
//! programs in them would do is leave a file: none may be there afterwards.

#![expect(clippy::panic, reason = "helpers of tests may panic as tests do")]
#![expect(clippy::too_many_lines, reason = "tables of cases")]
#![expect(unsafe_code, reason = "an allocator that counts cannot be written without it")]

mod support;

use std::alloc::{GlobalAlloc, Layout, System};
use std::io::Cursor;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use easel_catalog::{TensorFile, identify_file};
use support::{Data, Entry, Pickle, contiguous, torch_entries, torch_legacy, torch_zip, zip};

/// Counts the bytes that are allocated, and their peak.
struct Counting;

static NOW: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);
/// One case at a time: the counters are for all threads.
static ALONE: Mutex<()> = Mutex::new(());

#[global_allocator]
static ALLOCATOR: Counting = Counting;

// SAFETY: every call goes to the system's allocator unchanged; the counters are atomics and allocate nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let now = NOW.fetch_add(layout.size(), Ordering::Relaxed) + layout.size();
        PEAK.fetch_max(now, Ordering::Relaxed);
        // SAFETY: the caller's promise, passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        NOW.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's promise, passed on.
        unsafe { System.dealloc(pointer, layout) }
    }
}

/// More of a pickle.
type Change = Box<dyn Fn(Pickle) -> Pickle>;

const MAX_TIME: Duration = Duration::from_secs(1);
const MAX_BYTES: usize = 64 << 20;

/// The file that a program in a pickle would leave.
fn canary() -> PathBuf {
    std::env::temp_dir().join(format!("easel-hostile-canary-{}", std::process::id()))
}

/// Why the file is refused; within the limits.
fn refusal(what: &str, bytes: &[u8]) -> String {
    refusal_of(what, &mut Cursor::new(bytes), bytes.len() as u64)
}

fn refusal_of(what: &str, file: &mut (impl std::io::Read + std::io::Seek), len: u64) -> String {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let before = NOW.load(Ordering::Relaxed);
    PEAK.store(before, Ordering::Relaxed);
    let start = Instant::now();
    let read = TensorFile::read(file, len, Path::new("hostile.ckpt")).map(|file| identify_file(&file));
    let (took, peak) = (start.elapsed(), PEAK.load(Ordering::Relaxed).saturating_sub(before));
    let told = match read {
        Ok(identity) => panic!("{what}: was read, as {identity:#?}"),
        Err(error) => error.to_string(),
    };
    println!("{:>8} us {:>6} KiB  {what}: {told}", took.as_micros(), peak >> 10);
    assert!(took < MAX_TIME, "{what}: took {took:?}");
    assert!(peak < MAX_BYTES, "{what}: took {} MiB", peak >> 20);
    assert!(told.starts_with("hostile.ckpt") && told.len() < 600, "{what}: {told}");
    assert!(!canary().exists(), "{what}: something was run");
    told
}

/// In each container, and beside sound weights as well as alone.
fn everywhere(what: &str, value: &dyn Fn(Pickle) -> Pickle, reason: &str) {
    let shapes: support::Shapes<'_> = &[("w", &[2, 3])];
    let alone = |protocol| value(Pickle::new(protocol)).stop();
    let beside = value(Pickle::new(2).raw(b"}(").text("state_dict").state_dict(shapes).text("x")).raw(b"u").stop();
    let before = value(Pickle::new(2)).raw(b"0").state_dict(shapes).stop();
    let within = value(Pickle::new(2).raw(b"}(").text("w").plain("0", &[2, 3]).text("b")).raw(b"u").stop();
    for (place, pickle) in
        [("alone", alone(2)), ("alone", alone(4)), ("beside", beside), ("before", before), ("within", within)]
    {
        for (container, bytes) in [
            ("zip", torch_zip(pickle.clone(), &[12])),
            ("legacy", torch_legacy(&pickle, &[("0", 6, 12)])),
            ("bare", pickle.clone()),
        ] {
            let what = format!("{what}, {place}, {container}");
            let told = refusal(&what, &bytes);
            let reason = if container == "bare" { "torch.save did not write" } else { reason };
            // A bare pickle is refused for what it names first, or for not being torch's.
            assert!(told.contains(reason) || container == "bare", "{what}: {told}");
        }
    }
}

#[test]
fn nothing_is_executed() {
    let command = format!("touch {}", canary().display());
    let python = format!("open({:?}, 'w').close()", canary());
    let call = |module: &'static str, name: &'static str, argument: String| {
        move |pickle: Pickle| pickle.global(module, name).raw(b"(").text(&argument).raw(b"tR")
    };
    for (module, name) in [
        ("os", "system"),
        ("posix", "system"),
        ("nt", "system"),
        ("subprocess", "Popen"),
        ("subprocess", "check_output"),
        ("commands", "getoutput"),
        ("webbrowser", "open"),
        ("pty", "spawn"),
        ("bdb", "Bdb"),
        ("pydoc", "pipepager"),
        ("timeit", "main"),
        ("_posixsubprocess", "fork_exec"),
        ("torch.hub", "load"),
        ("torch", "load"),
        ("torch.jit", "load"),
        ("numpy", "load"),
        ("numpy.testing._private.utils", "runstring"),
        ("pip", "main"),
        ("IPython.core.interactiveshell", "system"),
        ("my.package", "function"),
    ] {
        everywhere(&format!("{module}.{name}"), &call(module, name, command.clone()), name);
    }
    for (module, name) in [
        ("builtins", "eval"),
        ("builtins", "exec"),
        ("builtins", "compile"),
        ("builtins", "__import__"),
        ("builtins", "getattr"),
        ("__builtin__", "eval"),
        ("__builtin__", "execfile"),
        ("runpy", "_run_code"),
        ("code", "InteractiveInterpreter"),
        ("importlib", "import_module"),
        ("operator", "attrgetter"),
        ("functools", "partial"),
        ("types", "FunctionType"),
        ("pickle", "loads"),
        ("marshal", "loads"),
        ("io", "open"),
        ("shutil", "rmtree"),
        ("socket", "create_connection"),
        ("torch.storage", "_load_from_bytes"),
        ("torch.serialization", "load"),
        ("dill._dill", "_create_function"),
        ("cloudpickle.cloudpickle", "_make_function"),
    ] {
        everywhere(&format!("{module}.{name}"), &call(module, name, python.clone()), name);
    }
    assert!(!canary().exists());
}

#[test]
fn no_way_to_call_is_open() {
    let argument = format!("touch {}", canary().display());
    let cases: Vec<(&str, Change, &str)> = vec![
        (
            "STACK_GLOBAL",
            Box::new(|p: Pickle| p.raw(b"\x8c\x02os\x8c\x06system\x93(").text("id").raw(b"tR")),
            "os.system",
        ),
        (
            "STACK_GLOBAL from the memo",
            Box::new(|p: Pickle| p.raw(b"\x8c\x06system\x94\x8c\x02os\x94h\x00h\x01\x93)R")),
            "system.os",
        ),
        ("STACK_GLOBAL of a list", Box::new(|p: Pickle| p.raw(b"]\x8c\x06system\x93)R")), "no text"),
        ("INST", Box::new(|p: Pickle| p.raw(b"(").text("id").raw(b"ios\nsystem\n")), "os.system"),
        ("OBJ", Box::new(|p: Pickle| p.raw(b"(cos\nsystem\n").text("id").raw(b"o")), "os.system"),
        ("OBJ of nothing", Box::new(|p: Pickle| p.raw(b"(o")), "without a class"),
        ("OBJ of a text", Box::new(|p: Pickle| p.raw(b"(").text("id").raw(b"o")), "no name"),
        ("NEWOBJ", Box::new(|p: Pickle| p.raw(b"csubprocess\nPopen\n(").text("id").raw(b"t\x81")), "subprocess.Popen"),
        ("NEWOBJ_EX", Box::new(|p: Pickle| p.raw(b"csubprocess\nPopen\n)}\x92")), "subprocess.Popen"),
        (
            "NEWOBJ of a torch module",
            Box::new(|p: Pickle| p.raw(b"ctorch.nn.modules.linear\nLinear\n)\x81}b")),
            "whole model",
        ),
        ("a function only named", Box::new(|p: Pickle| p.raw(b"cos\nsystem\n")), "os.system"),
        ("BUILD of a list", Box::new(|p: Pickle| p.raw(b"]}b")), "attributes"),
        ("BUILD of a text", Box::new(|p: Pickle| p.text("x").raw(b"}b")), "attributes"),
        ("EXT1", Box::new(|p: Pickle| p.raw(b"\x82\x01")), "extension"),
        ("EXT2", Box::new(|p: Pickle| p.raw(b"\x83\x01\x00")), "extension"),
        ("EXT4", Box::new(|p: Pickle| p.raw(b"\x84\x01\x00\x00\x00")), "extension"),
        ("a call of a result", Box::new(|p: Pickle| p.raw(b"cmy.package\nThing\n)R)R")), "no name"),
        ("a call of a text", Box::new(|p: Pickle| p.text("os.system").raw(b")R")), "no name"),
        ("a call with a list", Box::new(|p: Pickle| p.raw(b"cmy.package\nThing\n]R")), "no tuple"),
        ("PERSID", Box::new(|p: Pickle| p.raw(b"Pos.system\n")), "persistent id"),
        ("BINPERSID of a text", Box::new(|p: Pickle| p.text("os.system").raw(b"Q")), "persistent id"),
        (
            "BINPERSID of a module",
            Box::new(|p: Pickle| p.raw(b"(").text("module").raw(b"cmy.package\nNet\nNNtQ")),
            "whole model",
        ),
        (
            "BINPERSID of a foreign class",
            Box::new(|p: Pickle| {
                p.raw(b"(").text("storage").raw(b"cmy.package\nStorage\n").text("0").text("cpu").raw(b"K\x06tQ")
            }),
            "not known",
        ),
        (
            "BINPERSID of a path",
            Box::new(|p: Pickle| {
                p.raw(b"(").text("file").global("torch", "FloatStorage").text("/etc/passwd").text("cpu").raw(b"K\x01tQ")
            }),
            "not of a storage",
        ),
        ("an out-of-band buffer", Box::new(|p: Pickle| p.raw(b"\x97")), "buffer"),
        (
            "a rebuild by a foreign function",
            Box::new(|p: Pickle| {
                p.global("torch._tensor", "_rebuild_from_type_v2")
                    .raw(b"(cmy.package\nrebuild\n")
                    .global("torch", "Tensor")
                    .raw(b")}tR")
            }),
            "rebuilt",
        ),
        (
            "a rebuild of a foreign class",
            Box::new(|p: Pickle| {
                p.global("torch._tensor", "_rebuild_from_type_v2")
                    .raw(b"(")
                    .global("torch._utils", "_rebuild_tensor_v2")
                    .raw(b"cmy.package\nTensor\n)}tR")
            }),
            "class",
        ),
        ("a nested pickle", Box::new(|p: Pickle| p.raw(b"c_pickle\nloads\n(C\x04cos\ntR")), "_pickle.loads"),
        (
            "a parameter of a foreign object",
            Box::new(|p: Pickle| p.global("torch._utils", "_rebuild_parameter").raw(b"(cmy.package\nThing\n)R\x88NtR")),
            "no tensor",
        ),
        (
            "a rebuild in a rebuild",
            Box::new(|p: Pickle| {
                p.global("torch._tensor", "_rebuild_from_type_v2")
                    .raw(b"(")
                    .global("torch._tensor", "_rebuild_from_type_v2")
                    .global("torch", "Tensor")
                    .raw(b")}tR")
            }),
            "rebuilt",
        ),
        (
            "a storage class that is called",
            Box::new(|p: Pickle| p.global("torch", "FloatStorage").raw(b"(J\xff\xff\xff\x7ftR")),
            "type of torch",
        ),
        ("an instruction that is none", Box::new(|p: Pickle| p.raw(b"\xff")), "none of pickle's"),
        ("a protocol that is none", Box::new(|p: Pickle| p.raw(b"\x80\x63")), "protocol 99"),
        (
            "a name with a line break's worth",
            Box::new(move |p: Pickle| p.raw(b"cos.path\n").raw(argument.as_bytes()).raw(b"\n)R")),
            "os.path",
        ),
    ];
    for (what, value, reason) in &cases {
        everywhere(what, value, reason);
    }
}

#[test]
fn bombs_do_not_go_off() {
    let repeat = |unit: &[u8], times: usize| unit.repeat(times);
    let doubling = (0..200).fold(Pickle::new(2).raw(b"]q\x00"), |p, _| p.raw(b"h\x00h\x00\x86q\x00")).stop();
    // Each mapping holds the one before it twice: 2^24 tensors by name.
    let laughs = (0..24).fold(Pickle::new(2).raw(b"}").text("w").plain("0", &[6]).raw(b"sq\x00"), |p, _| {
        p.raw(b"0}(").text("a").raw(b"h\x00").text("b").raw(b"h\x00uq\x00")
    });
    let wide = {
        let names = Pickle::new(2).plain("0", &[6]).raw(b"q\x000}(");
        (0..70_000).fold(names, |p, index| p.text(&format!("{index:0>100}")).raw(b"h\x00")).raw(b"u").stop()
    };
    let own_child =
        Pickle::new(2).raw(b"}q\x00").text("w").plain("0", &[6]).raw(b"s").text("self").raw(b"h\x00s").stop();
    let copies = {
        let list = Pickle::new(2).raw(b"](").raw(&repeat(b"K\x01", 50_000)).raw(b"eq\x00");
        (0..500).fold(list, |p, _| p.global("builtins", "list").raw(b"h\x00\x85R")).stop()
    };
    let cases: Vec<(&str, Vec<u8>, &str)> = vec![
        ("a memo that doubles", doubling, "deeper"),
        ("a billion laughs", laughs.stop(), "deeper"),
        ("many long names", wide, "more than"),
        ("a mapping in itself", own_child, "deeper"),
        ("copies of a list", copies, "values in containers"),
        ("lists in lists", Pickle::new(2).raw(&repeat(b"]", 100_000)).raw(&repeat(b"a", 99_999)).stop(), "deeper"),
        ("tuples in tuples", Pickle::new(2).raw(b")").raw(&repeat(b"\x85", 100_000)).stop(), "deeper"),
        ("marks", Pickle::new(2).raw(&repeat(b"(", 1_000_000)).stop(), "marks"),
        ("values on the stack", Pickle::new(2).raw(&repeat(b"N", 4_000_000)).stop(), "on the stack"),
        ("objects", Pickle::new(2).raw(&repeat(b"}0", 3_000_000)).stop(), "objects"),
        ("names", Pickle::new(2).raw(&repeat(b"ca\nb\n0", 1_000_000)).stop(), "objects"),
        ("instructions", Pickle::new(2).raw(&repeat(b"N0", 4_000_000)).stop(), "instructions"),
        ("memo entries", Pickle::new(2).raw(b"N").raw(&repeat(b"\x94", 4_000_000)).stop(), "memo entry"),
        ("a memo entry far away", Pickle::new(2).raw(b"Nr\xff\xff\xff\xff").stop(), "memo entry"),
        ("a memo entry that was never made", Pickle::new(2).raw(b"j\xff\xff\xff\x7f").stop(), "never made"),
        ("LONG4 of 2 GiB", Pickle::new(2).raw(b"\x8b\xff\xff\xff\x7f").stop(), "a number of 2147483647 bytes"),
        ("LONG4 of less than nothing", Pickle::new(2).raw(b"\x8b\xff\xff\xff\xff").stop(), "a number of -1 bytes"),
        ("a text of 4 GiB", Pickle::new(2).raw(b"X\xff\xff\xff\xff").stop(), "a text of 4294967295 bytes"),
        ("a text of 2^64 bytes", Pickle::new(4).raw(b"\x8d").raw(&[0xff; 8]).stop(), "a text of 18446744073709551615"),
        ("bytes of 2^63", Pickle::new(4).raw(b"\x8e").raw(&[0xff; 8]).stop(), "bytes of"),
        ("an array of 2^63", Pickle::new(5).raw(b"\x96").raw(&[0xff; 8]).stop(), "bytes of"),
        ("a frame of 2^64", Pickle::new(4).raw(b"\x95").raw(&[0xff; 8]).stop(), "a frame of"),
        ("a text of 2 MiB", Pickle::new(2).text(&"x".repeat(2 << 20)).stop(), "at most 1048576"),
        ("a line without an end", Pickle::new(2).raw(b"c").raw(&repeat(b"x", 1 << 20)).stop(), "line without an end"),
        ("a pickle of 9 MiB", Pickle::new(2).raw(&repeat(b"N0", 9 << 19)).stop(), ""),
        ("nothing", Vec::new(), ""),
        ("no end", Pickle::new(2).0, ""),
        ("an end without a value", Pickle::new(2).stop(), "empty stack"),
        ("a take below a mark", Pickle::new(2).raw(b"N(\x85").stop(), "empty stack"),
        ("a key without a value", Pickle::new(2).raw(b"}(Nu").stop(), "without a value"),
        ("entries of a list", Pickle::new(2).raw(b"](NNu").stop(), "no mapping"),
        ("items of a mapping", Pickle::new(2).raw(b"}(NNe").stop(), "no list"),
        ("no mapping", Pickle::new(2).raw(b"](").plain("0", &[6]).raw(b"e").stop(), "state dict"),
        ("a mapping of nothing", Pickle::new(2).raw(b"}").stop(), "state dict"),
        (
            "a tensor twice",
            Pickle::new(2).raw(b"}(").text("a").plain("0", &[6]).text("a").plain("0", &[6]).raw(b"u").stop(),
            "twice",
        ),
        (
            "a tensor twice by its path",
            Pickle::new(2)
                .raw(b"}(")
                .text("a.b")
                .plain("0", &[6])
                .text("a")
                .raw(b"}")
                .text("b")
                .plain("0", &[6])
                .raw(b"su")
                .stop(),
            "twice",
        ),
    ];
    for (what, pickle, reason) in cases {
        for (container, bytes) in
            [("zip", torch_zip(pickle.clone(), &[12])), ("legacy", torch_legacy(&pickle, &[("0", 6, 12)]))]
        {
            let what = format!("{what}, {container}");
            let told = refusal(&what, &bytes);
            assert!(told.contains(reason), "{what}: {told}");
        }
    }
}

#[test]
fn no_tensor_reaches_past_its_storage() {
    let of = |offset: i64, shape: &[i64], strides: &[i64]| {
        let storage = |p: Pickle| p.storage("HalfStorage", "0", 6);
        Pickle::new(2).raw(b"}").text("w").tensor(storage, offset, shape, strides).raw(b"s").stop()
    };
    let claiming = |class: &'static str, count: i64, shape: &[i64]| {
        let storage = move |p: Pickle| p.storage(class, "0", count);
        Pickle::new(2).raw(b"}").text("w").tensor(storage, 0, shape, &contiguous(shape)).raw(b"s").stop()
    };
    let max = i64::MAX;
    let cases: Vec<(&str, Vec<u8>, &str)> = vec![
        ("one element too many", of(0, &[7], &[1]), "past the end"),
        ("one element too far", of(1, &[2, 3], &[3, 1]), "past the end"),
        ("strides past the end", of(0, &[2, 3], &[4, 1]), "past the end"),
        ("an offset past the end", of(7, &[], &[]), "past the end"),
        ("an empty tensor past the end", of(7, &[0], &[1]), "past the end"),
        ("an offset that overflows", of(max, &[1], &[1]), "past the end"),
        ("a shape that overflows", of(0, &[max, max], &[0, 0]), "further than can be counted"),
        ("a stride that overflows", of(0, &[3], &[max]), "further than can be counted"),
        ("strides that overflow together", of(0, &[2, 2], &[max, max]), "further than can be counted"),
        ("a negative offset", of(-1, &[1], &[1]), "-1 where a size"),
        ("a negative axis", of(0, &[-1], &[1]), "-1 where a size"),
        ("a negative stride", of(5, &[6], &[-1]), "-1 where a size"),
        ("much of little", of(0, &[1 << 40], &[0]), "more than the whole file"),
        ("axes without strides", of(0, &[2, 3], &[1]), "with 1 strides"),
        ("too many axes", of(0, &[1; 17], &[1; 17]), "17 axes"),
        ("a storage that claims more", claiming("HalfStorage", 7, &[2]), "claims 14 bytes"),
        ("a storage that claims everything", claiming("DoubleStorage", max, &[2]), ""),
        ("a storage of less than nothing", claiming("HalfStorage", -1, &[2]), "-1 where a size"),
        ("a storage without a type", claiming("UntypedStorage", 12, &[2]), "no type"),
        ("a storage of a type that is not known", claiming("QInt8Storage", 6, &[2]), "not known"),
    ];
    for (what, pickle, reason) in cases {
        let told = refusal(what, &torch_zip(pickle.clone(), &[12]));
        assert!(told.contains(reason), "{what}: {told}");
        // Old files tell the number of elements once more, and that has to agree.
        refusal(what, &torch_legacy(&pickle, &[("0", 6, 12)]));
    }
    let view = |first: i64, count: i64| {
        let storage = move |p: Pickle| {
            let head = p.raw(b"(").text("storage").global("torch", "HalfStorage").text("0").text("cpu").int(6);
            head.raw(b"(").text("v").int(first).int(count).raw(b"ttQ")
        };
        let pickle = Pickle::new(2).raw(b"}").text("w").tensor(storage, 0, &[2], &[1]).raw(b"s").stop();
        torch_legacy(&pickle, &[("0", 6, 12)])
    };
    assert!(refusal("a view past the end", &view(4, 3)).contains("past the end of its storage"));
    assert!(refusal("a view that overflows", &view(max, max)).contains("past the end"));
    assert!(refusal("a tensor past its view", &view(5, 1)).contains("past the end"));
}

#[test]
fn old_files_that_lie_are_refused() {
    let pickle = Pickle::new(2).raw(b"}").text("w").plain("0", &[6]).raw(b"s").stop();
    let cases: Vec<(&str, Vec<u8>, &str)> = vec![
        ("a count of 2^64 - 1", torch_legacy(&pickle, &[("0", u64::MAX, 12)]), "addressed"),
        ("a count of 2^62", torch_legacy(&pickle, &[("0", 1 << 62, 12)]), "addressed"),
        ("a count of 2^40", torch_legacy(&pickle, &[("0", 1 << 40, 12)]), "truncated"),
        ("a count that is not the pickle's", torch_legacy(&pickle, &[("0", 5, 10)]), "5 elements, not 6"),
        ("a storage that is not there", torch_legacy(&pickle, &[]), "not in the file"),
        ("a storage twice", torch_legacy(&pickle, &[("0", 6, 12), ("0", 6, 12)]), "twice"),
        ("a storage of nobody", torch_legacy(&pickle, &[("0", 6, 12), ("1", 6, 12)]), "belongs to no tensor"),
        ("bytes of nobody", torch_legacy(&pickle, &[("0", 6, 13)]), "belong to none"),
        (
            "another version",
            torch_legacy(&pickle, &[("0", 6, 12)])
                .iter()
                .enumerate()
                .map(|(i, b)| if i == 18 { 1 } else { *b })
                .collect(),
            "",
        ),
    ];
    for (what, bytes, reason) in cases {
        let told = refusal(what, &bytes);
        assert!(told.contains(reason), "{what}: {told}");
    }
}

#[test]
fn zips_that_lie_are_refused() {
    let pickle = Pickle::new(2).raw(b"}(").text("a").plain("0", &[6]).text("b").plain("1", &[6]).raw(b"u").stop();
    let with = |change: &dyn Fn(&mut Vec<Entry>)| {
        let mut entries = torch_entries(pickle.clone(), &[12, 12]);
        for entry in &mut entries {
            if let Data::Hole(_) = entry.data {
                entry.data = Data::Bytes(vec![7; 12]);
            }
        }
        change(&mut entries);
        zip(&entries)
    };
    let cases: Vec<(&str, Vec<u8>, &str)> = vec![
        ("a compressed entry", with(&|e| e[2].method = 8), "torch.save it anew"),
        ("a compressed pickle", with(&|e| e[0].method = 8), "compressed"),
        ("an unknown method", with(&|e| e[2].method = 99), "compressed"),
        ("an encrypted entry", with(&|e| e[2].flags = 1), "encrypted"),
        ("an entry twice", with(&|e| e[3] = Entry::bytes("model/data/0", [7; 12])), "twice"),
        ("another name in the header", with(&|e| e[2].local_name = "model/data/9".into()), "do not agree"),
        ("an entry in the place of another", with(&|e| e[3].offset = Some(0)), ""),
        ("an entry past the end", with(&|e| e[3].offset = Some(1 << 40)), ""),
        ("an entry at the edge of 64 bits", with(&|e| e[3].offset = Some(u64::MAX - 3)), ""),
        ("a length past the end", with(&|e| e[4].claims = Some(1 << 30)), "past the end"),
        ("a length of 2^64", with(&|e| e[4].claims = Some(u64::MAX)), ""),
        ("a length into the next entry", with(&|e| e[2].claims = Some(60)), "overlaps"),
        ("a length into the directory", with(&|e| e[4].claims = Some(40)), "directory"),
        ("two pickles", with(&|e| e.push(Entry::bytes("other/data.pkl", "x"))), "two pickles"),
        ("a storage that is not there", with(&|e| drop(e.remove(3))), "data/1 is not in the file"),
        ("a storage that is too short", with(&|e| e[3].data = Data::Bytes(vec![7; 11])), "claims 12 bytes"),
        (
            "a pickle that goes on",
            with(&|e| e[0].data = Data::Bytes([pickle.as_slice(), b"N."].concat())),
            "after its end",
        ),
        ("a name that is no text", with(&|e| e[4].name = "model/\u{fffd}".into()), "no header"),
    ];
    for (what, bytes, reason) in cases {
        let told = refusal(what, &bytes);
        assert!(told.contains(reason), "{what}: {told}");
    }
    // Zip bombs: everything in the same bytes, and a directory that claims more than there is.
    let many: Vec<Entry> = (0..60_000)
        .map(|index| Entry { offset: Some(0), ..Entry::bytes(&format!("model/data/{index}"), Vec::new()) })
        .collect();
    assert!(refusal("60000 entries", &zip(&many)).contains("at most"));
    let overlapping: Vec<Entry> = (0..2000)
        .map(|index| Entry { offset: Some(0), ..Entry::bytes(&format!("model/data/{index}"), Vec::new()) })
        .collect();
    refusal("entries in one place", &zip(&overlapping));
    let sound = with(&|_| {});
    for (what, at, value) in [
        ("a directory elsewhere", sound.len() - 6, 1_u8),
        ("a directory of another length", sound.len() - 10, 1),
        ("other counts", sound.len() - 14, 9),
        ("two disks", sound.len() - 18, 1),
    ] {
        let mut bytes = sound.clone();
        bytes[at] = bytes[at].wrapping_add(value);
        refusal(what, &bytes);
    }
    let mut wide = sound.clone();
    let record = sound.len() - 22 - 20 - 56;
    wide[record + 48..record + 56].copy_from_slice(&u64::MAX.to_le_bytes());
    wide[sound.len() - 6..sound.len() - 2].copy_from_slice(&u32::MAX.to_le_bytes());
    refusal("a zip64 directory at 2^64", &wide);
}

/// A file as long as it claims, of which only the beginning is anything.
struct Sparse {
    head: Vec<u8>,
    len: u64,
    at: u64,
}

impl std::io::Read for Sparse {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let left = usize::try_from(self.len.saturating_sub(self.at)).unwrap_or(usize::MAX);
        let take = buffer.len().min(left);
        for byte in buffer.iter_mut().take(take) {
            *byte = usize::try_from(self.at).ok().and_then(|at| self.head.get(at).copied()).unwrap_or(b' ');
            self.at += 1;
        }
        Ok(take)
    }
}

impl std::io::Seek for Sparse {
    fn seek(&mut self, from: std::io::SeekFrom) -> std::io::Result<u64> {
        if let std::io::SeekFrom::Start(at) = from {
            self.at = at;
        }
        Ok(self.at)
    }
}

#[test]
fn headers_of_safetensors_that_lie_are_refused() {
    let file = |header: &str, data: usize| {
        let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
        bytes.extend(header.as_bytes());
        bytes.resize(bytes.len() + data, 0);
        bytes
    };
    let entry = |name: &str, shape: &str, begin: u64, end: u64| {
        format!(r#""{name}":{{"dtype":"F16","shape":{shape},"data_offsets":[{begin},{end}]}}"#)
    };
    let many: Vec<String> = (0..100_000).map(|index| entry(&index.to_string(), "[0]", 0, 0)).collect();
    let cases: Vec<(&str, Vec<u8>, &str)> = vec![
        ("an overlap", file(&format!("{{{},{}}}", entry("a", "[2]", 0, 4), entry("b", "[2]", 2, 6)), 6), "overlaps"),
        (
            "the same bytes",
            file(&format!("{{{},{}}}", entry("a", "[2]", 0, 4), entry("b", "[2]", 0, 4)), 4),
            "overlaps",
        ),
        (
            "a shape that overflows",
            file(&format!("{{{}}}", entry("a", "[9223372036854775807,4]", 0, 4)), 4),
            "addressed",
        ),
        ("a name twice", file(&format!("{{{0},{0}}}", entry("a", "[2]", 0, 4)), 4), "twice"),
        ("bytes that are missing", file(&format!("{{{}}}", entry("a", "[2]", 0, 4)), 3), "truncated"),
        ("100000 tensors", file(&format!("{{{}}}", many.join(",")), 0), "more than 50000"),
        ("a deep header", file(&format!(r#"{{"__metadata__":{}"#, "{\"a\":".repeat(1 << 20)), 0), "header"),
        (
            "metadata of 7 MiB",
            file(&format!(r#"{{"__metadata__":{{{}"a":"b"}},"x":1}}"#, r#""k":"v","#.repeat(900_000)), 0),
            "header",
        ),
        (
            "many metadata values",
            file(
                &format!(
                    r#"{{"__metadata__":{{{}"a":[]}},"x":1}}"#,
                    (0..400_000).map(|index| format!(r#""{index}":[[]]"#)).collect::<Vec<_>>().join(",") + ","
                ),
                0,
            ),
            "header",
        ),
    ];
    for (what, bytes, reason) in cases {
        let told = refusal(what, &bytes);
        assert!(told.contains(reason), "{what}: {told}");
    }
    for (what, len) in
        [("a header of 2^64 bytes", u64::MAX), ("a header of 1 GiB", 1 << 30), ("a header of 16 MiB", 16 << 20)]
    {
        let mut head = len.to_le_bytes().to_vec();
        head.extend(br#"{"a":"#);
        refusal_of(what, &mut Sparse { head, len: u64::MAX >> 1, at: 0 }, u64::MAX >> 1);
    }
    // Whatever the file claims to be, its length alone must cost nothing.
    for head in [b"PK\x03\x04".to_vec(), torch_legacy(b"\x80\x02}", &[]), b"\x80\x02".to_vec()] {
        refusal_of("a file of 2^62 bytes", &mut Sparse { head, len: 1 << 62, at: 0 }, 1 << 62);
    }
}
