//! Every wrong file of `fixtures/problems`, as a person sees its problems.

use crate::{files_in, load_text};

#[test]
fn wrong_files_are_explained() {
    let files = files_in("problems");
    assert!(files.len() >= 25);
    for (name, content) in files {
        let problems = load_text(&name, content).expect_err(&name);
        assert!(problems.has_errors(), "{name}");
        insta::with_settings!({omit_expression => true}, {
            insta::assert_snapshot!(name, problems.render(false));
        });
    }
}
