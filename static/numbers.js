/* How a gain is written, given its log10: on ticks, in the headline, on hover, in running text.
   mhc_demo/numerics/numbers.py holds the same rules under the same names; a test compares them. */
"use strict";
window.mhc = (() => {
  // From this |log10| on, a tick, a rounded gain and an exact one are powers of ten.
  const [TICK_LIMIT, ROUNDED_LIMIT, EXACT_LIMIT] = [3, 2.9995, 4];
  const [NEAR_ONE, FAR_FROM_ONE] = [Math.log10(2), 3];
  const UNKNOWN = "—";

  const RAISED = {"-": "⁻", "−": "⁻", ".": "·"};
  const superscript = (number) =>
    [...String(number)].map((sign) => RAISED[sign] ?? "⁰¹²³⁴⁵⁶⁷⁸⁹"[sign]).join("");
  // The sign for minus, and none before a zero.
  const minus = (text) => text.replace(/^-(?=[\d.]*[1-9])/, "−").replace(/^-/, "");
  const significant = (x, digits) => String(Number(x.toPrecision(digits)));
  const not_finite = (log10) => (log10 < 0 ? "0" : UNKNOWN);

  function scientific(log10, digits) {
    let power = Math.floor(log10);
    let mantissa = Number((10 ** (log10 - power)).toFixed(digits));
    if (mantissa >= 10) [mantissa, power] = [mantissa / 10, power + 1];
    return `${mantissa} × 10${superscript(power)}`;
  }

  // As the headline writes a gain: three digits, or from 10^3 on the power of ten.
  function rounded(log10) {
    if (!Number.isFinite(log10)) return {base: not_finite(log10), power: ""};
    if (Math.abs(log10) >= ROUNDED_LIMIT) return {base: "10", power: minus(log10.toFixed(1))};
    return {base: (10 ** log10).toPrecision(3), power: ""};
  }

  const spelt = (spell) => (log10) => {
    const {base, power} = rounded(log10);
    return power ? spell(base, power) : base;
  };
  const in_words = spelt((base, power) => `${base} to the power of ${power}`);
  const in_html = spelt((base, power) => `${base}<sup>${power}</sup>`);
  const in_label = spelt((base, power) => base + superscript(power));

  // A tick's label: as short as it can be.
  function tick(log10) {
    if (!Number.isFinite(log10)) return not_finite(log10);
    if (Math.abs(log10) < TICK_LIMIT) return significant(10 ** log10, 3);
    return Number.isInteger(log10) ? `10${superscript(log10)}` : scientific(log10, 2);
  }

  // A gain on hover: four digits, whether as a power of ten or not.
  function exact(log10) {
    if (!Number.isFinite(log10)) return not_finite(log10);
    return Math.abs(log10) < EXACT_LIMIT ? significant(10 ** log10, 4) : scientific(log10, 3);
  }

  // What becomes of a signal: 0 if it stays near 1, ±1 if it grows or shrinks, ±2 beyond 10^±3.
  function fate(log10) {
    const size = Math.abs(log10);
    return Math.sign(log10) * ((size > NEAR_ONE) + (size > FAR_FROM_ONE)) || 0;
  }

  const VERDICTS = ["vanishes", "shrinks", "stays near 1", "grows", "explodes"];
  const verdict = (log10) => VERDICTS[fate(log10) + 2];

  // An entry of a matrix in its cell, and on hover.
  const entry = (x) => (Number.isFinite(x) ? minus(x.toFixed(2)) : UNKNOWN);
  const exact_entry = (x) => (Number.isFinite(x) ? minus(significant(x, 6)) : UNKNOWN);

  return {rounded, in_words, in_html, in_label, tick, exact, fate, verdict, entry, exact_entry,
          superscript, minus, significant, scientific};
})();
