//! The example for users of candle does what it says.

#[path = "../../examples/candle_regenerate.rs"]
#[allow(dead_code, reason = "its main is not run here")]
mod example;

use ckpt_regen::regen::Rule;

#[test]
fn the_example_trains_and_regenerates_a_candle_model() {
    let (vars, plans) = example::train_and_regenerate().unwrap();
    assert_eq!(plans.len(), 2);
    for plan in plans {
        assert_eq!(plan.counted, 8 + 16);
        assert!(
            plan.regenerated() > 0 && plan.regenerated() <= 12,
            "{plan:?}"
        );
    }
    // What the last epoch did to γ is there to be regenerated again, once.
    let again = |vars| ckpt_regen::candle::regenerate(vars, Rule::Paper).unwrap();
    assert!(again(&vars).regenerated() > 0);
    assert_eq!(again(&vars).regenerated(), 0);
}
