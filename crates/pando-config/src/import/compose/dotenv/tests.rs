use super::*;

fn text(text: &str) -> Option<Given> {
    Some(Given::Text(text.to_owned()))
}

fn lines(read: Read) -> Vec<(String, Option<Given>)> {
    read.lines.into_iter().map(|line| (line.name, line.value)).collect()
}

fn check(typed: &str, expected: &[(&str, Option<Given>)]) {
    let read = parse(typed, &Variables::new());
    assert!(read.unread.is_empty(), "{typed:?}: {:?}", read.unread);
    let expected: Vec<(String, Option<Given>)> =
        expected.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
    assert_eq!(lines(read), expected, "{typed:?}");
}

#[test]
fn lines_are_variables() {
    check(
        "# a comment\nA=1\nexport B = two words # told\nC='$A # kept'",
        &[("A", text("1")), ("B", text("two words")), ("C", text("$A # kept"))],
    );
    check("A=1\nF=${A}0\nY: of yaml\nA=2\n", &[("F", text("10")), ("Y", text("of yaml")), ("A", text("2"))]);
    check(
        "A=\nnothing\nexport other\r\nB=x#y\nlast",
        &[("A", text("")), ("nothing", None), ("other", None), ("B", text("x#y")), ("last", None)],
    );
}

#[test]
fn quotes_are_as_compose_has_them() {
    check("D=\"x\\n\\$A C:\\path \\\"q\\\"\" # c\n", &[("D", text("x\n$A C:\\path \"q\""))]);
    check("S='it\\'s \\n'\n", &[("S", text("it's \\n"))]);
    check(
        "KEY=\"-----BEGIN\nmiddle\nEND\"\nA=1",
        &[("KEY", text("-----BEGIN\nmiddle\nEND")), ("A", text("1"))],
    );
    check("A=\"\\0101\\0\\x\"", &[("A", text("A\\0\\x"))]);
}

#[test]
fn what_is_made_of_others_is_told_apart() {
    check(
        "TOKEN=abc\nA=x-${TOKEN}\nB=$NONE/y\nDB_PASSWORD=pa$word\nC=${B}z",
        &[
            ("TOKEN", text("abc")),
            ("A", Some(Given::Secret)),
            ("B", Some(Given::Unknown(vec!["NONE".to_owned()]))),
            ("DB_PASSWORD", Some(Given::Secret)),
            ("C", Some(Given::Unknown(vec!["B".to_owned()]))),
        ],
    );
    let known = Variables::from([("A".to_owned(), Known::Text("outer".to_owned()))]);
    let read = parse("A=inner\nB=$A", &known);
    assert_eq!(lines(read)[1], ("B".to_owned(), text("outer")), "what is known already comes first");
}

#[test]
fn odd_lines_are_named_without_their_values() {
    let read =
        parse("A=1\nMY VAR=hunter2\nB!=x\n\nMIIEvQ+/kq==\n=x\nC='open\nD=2\nfoo bar\n", &Variables::new());
    let unread: Vec<(usize, &str)> = read.unread.iter().map(|unread| (unread.line, &*unread.shown)).collect();
    assert_eq!(unread, [(2, "MY VAR"), (3, "B!"), (5, ""), (6, ""), (7, "C"), (9, "")]);
    let names: Vec<&str> = read.lines.iter().map(|line| &*line.name).collect();
    assert_eq!(names, ["A", "D"]);
}

#[test]
fn raw_lines_are_kept_as_they_are() {
    let read = parse_raw("# x\n\nA=1\n A=\"$B\" # c\nB\nmy var=1\n");
    assert_eq!((read.unread.len(), read.unread[0].line), (1, 6));
    assert_eq!(lines(read), [("A".to_owned(), text("\"$B\" # c")), ("B".to_owned(), None)]);
}

#[test]
fn variables_that_multiply_themselves_stop() {
    let mut typed = "A0=0123456789\n".to_owned();
    for at in 1..60 {
        typed += &format!("A{at}=$A{0}$A{0}\n", at - 1);
    }
    let read = parse(&typed, &Variables::new());
    let whole: usize = read.lines.iter().map(|line| format!("{:?}", line.value).len()).sum();
    assert!(whole < 2_000_000, "{whole}");
}
