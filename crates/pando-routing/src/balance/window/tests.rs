use super::*;

#[test]
fn it_counts_ten_seconds_and_not_one_more() {
    let window = Window::default();
    for second in 100..130 {
        (0..=second - 100).for_each(|_| window.add(Column::First, second * SECOND + 999_999));
        window.add(Column::Second, second * SECOND);
        let last_ten: u64 = (100..=second).rev().take(10).map(|second| second - 99).sum();
        assert_eq!(window.sums(second * SECOND), (last_ten, (second - 99).min(10)));
    }
    assert_eq!(window.sums(138 * SECOND), (30, 1), "only second 129 is left");
    assert_eq!(window.sums(139 * SECOND), (0, 0));
}

#[test]
fn idle_for_any_time_is_nothing_counted() {
    let window = Window::default();
    assert_eq!(window.sums(3 * SECOND), (0, 0));
    window.add(Column::First, 5 * SECOND);
    for idle in [10, 11, 3_600, 86_400 * 30] {
        assert_eq!(window.sums((5 + idle) * SECOND), (0, 0), "{idle}");
    }
    window.add(Column::First, (5 + 3_600) * SECOND);
    assert_eq!(window.sums((5 + 3_600) * SECOND), (1, 0));
    window.reset();
    assert_eq!(window.sums((5 + 3_600) * SECOND), (0, 0));
}

#[test]
fn workers_lose_no_count() {
    let window = Window::default();
    std::thread::scope(|scope| {
        for column in [Column::First, Column::Second, Column::First] {
            let window = &window;
            scope.spawn(move || (0..30_000).for_each(|n| window.add(column, 50 * SECOND + n)));
        }
    });
    assert_eq!(window.sums(51 * SECOND), (60_000, 30_000));
}

#[test]
fn a_full_second_stops_counting() {
    let window = Window::default();
    window.0[0].store(Bucket { second: 20, first: COUNT_MASK, second_column: 3 }.word(), Relaxed);
    window.add(Column::First, 20 * SECOND);
    window.add(Column::Second, 20 * SECOND);
    assert_eq!(window.sums(20 * SECOND), (COUNT_MASK, 4));
}
