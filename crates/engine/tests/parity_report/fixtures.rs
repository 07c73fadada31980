//! A module of tests for each of the committed fixtures: one for each of a fixture's checks.

/// `fixtures! { {test: check, …} module "folder", … }`, where `Fixture` is in scope and `check` is one of its methods.
macro_rules! fixtures {
    ($checks:tt $($module:ident $folder:literal),+ $(,)?) => {
        $(fixtures! { @one $module $folder $checks })+
    };
    (@one $module:ident $folder:literal { $($test:ident: $check:ident),+ $(,)? }) => {
        mod $module {
            use super::Fixture;

            $(
                #[test]
                fn $test() {
                    Fixture::committed($folder).$check().finish(concat!($folder, ": ", stringify!($test)));
                }
            )+
        }
    };
}
