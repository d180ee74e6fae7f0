//! What misuse says. The texts are those of the compiler the project is built with.

/// Each file fails to compile, and says so as its `.stderr` shows.
#[test]
fn misuse_is_explained() {
    trybuild::TestCases::new().compile_fail("tests/ui/fail/*.rs");
}
