//! What is to be done, from what is wanted, kept and listed.

use super::*;

fn rules(cut_sessions: bool) -> FirewallRules {
    FirewallRules { enforced: true, cut_sessions, rules: Vec::new() }
}

fn proved(rules: FirewallRules) -> Kept {
    let proved = Proved { rules, text: "text".to_owned(), listing: "listing".to_owned() };
    Kept { proved: Some(proved), refused: None }
}

#[test]
fn what_has_proved_itself_and_is_in_force_is_left_alone() {
    let kept = proved(rules(false));
    assert_eq!(to_put_back(&rules(false), "text", &kept, Some("listing")), None);
    assert_eq!(next(&rules(false), &kept, Some("listing")), Next::Nothing);
}

#[test]
fn what_somebody_changed_or_removed_is_put_back() {
    let kept = proved(rules(false));
    let same = Some((rules(false), "text".to_owned()));
    assert_eq!(to_put_back(&rules(false), "text", &kept, Some("another")), same);
    assert_eq!(to_put_back(&rules(false), "text", &kept, None), same);
    // Containers came or went.
    let other = Some((rules(false), "other".to_owned()));
    assert_eq!(to_put_back(&rules(false), "other", &kept, Some("listing")), other);
    // After a reboot the old rules are better than none while new ones prove themselves.
    assert_eq!(to_put_back(&rules(true), "new", &kept, None), same);
    assert_eq!(to_put_back(&rules(true), "new", &kept, Some("listing")), None);
    let off = FirewallRules::default();
    assert_eq!(to_put_back(&off, "text", &kept, None), None);
}

#[test]
fn new_rules_prove_themselves_unless_they_were_refused() {
    assert_eq!(next(&rules(true), &proved(rules(false)), Some("listing")), Next::Change);
    assert_eq!(next(&rules(true), &Kept::default(), None), Next::Change);
    let problems = vec!["somebody is here".to_owned()];
    let refused = Refused { rules: rules(true), problems: problems.clone() };
    let kept = Kept { refused: Some(refused), ..proved(rules(false)) };
    assert_eq!(next(&rules(true), &kept, Some("listing")), Next::Stay(problems));
    let changed = FirewallRules { cut_sessions: true, ..rules(false) };
    assert_eq!(
        next(&changed, &Kept { proved: None, ..kept.clone() }, None),
        Next::Stay(kept.refused.unwrap().problems)
    );
    assert_eq!(next(&rules(false), &Kept::default(), None), Next::Change);
}

#[test]
fn without_rules_the_table_goes_and_what_was_kept_too() {
    let off = FirewallRules::default();
    assert_eq!(next(&off, &Kept::default(), None), Next::Nothing);
    assert_eq!(next(&off, &Kept::default(), Some("listing")), Next::Stay(vec![FOREIGN.to_owned()]));
    assert_eq!(next(&off, &proved(rules(false)), None), Next::Remove);
}

#[test]
fn the_way_back_is_what_was_in_force() {
    let kept = proved(rules(false));
    assert_eq!(restoration(&kept, Some("listing")), "text");
    assert_eq!(restoration(&kept, Some("another\n")), ruleset::restoration("another\n"));
    assert_eq!(restoration(&kept, None), ruleset::removal());
    assert_eq!(restoration(&Kept::default(), None), ruleset::removal());
}

#[test]
fn what_is_kept_survives_and_a_damaged_file_is_as_good_as_none() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("firewall");
    assert_eq!(Kept::load(&path).unwrap(), Kept::default());
    let kept = proved(rules(true));
    kept.save(&path).unwrap();
    assert_eq!(Kept::load(&path).unwrap(), kept);
    std::fs::write(path.join("firewall.json"), "{").unwrap();
    assert_eq!(Kept::load(&path).unwrap(), Kept::default());
}
