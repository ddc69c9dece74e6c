//! Quantities.
#![no_main]

use meta::Quantity;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let Ok(quantity) = Quantity::parse(text) else { return };
    let _ = (quantity.units(), quantity.millis(), quantity.rounded_to_millis());
    let shown = quantity.to_string();
    assert_eq!(Quantity::parse(&shown).map(|again| again.to_string()), Ok(shown), "the text form comes back");
});
