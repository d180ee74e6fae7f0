//! What the compiler says. The texts are those of the toolchain the project is built with; after a change of either,
//! `TRYBUILD=overwrite cargo test -p queue-macros ui` writes them anew, to be read before they are kept.

/// Each file in `fail` says what its `.stderr` shows; each in `pass` compiles without a warning, and runs.
#[test]
fn misuse_is_explained_and_use_is_quiet() {
    let cases = trybuild::TestCases::new();
    cases.compile_fail("tests/ui/fail/*.rs");
    cases.pass("tests/ui/pass/*.rs");
}
