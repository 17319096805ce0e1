/* The sliders of depth and iterations, their play buttons, and the headline that they move. */
"use strict";
Object.assign(mhc, (() => {
  const {get, surface, state_of, move, listen, element, text} = mhc;
  const {rounded, in_html, in_label, in_words, fate, verdict} = mhc;

  // A slider for one part of the state: the browser's own range input, which paints a move in a
  // frame, speaks to screen readers and knows the keys.  `tell` is called with the value while it
  // moves, ten times a second at most, and always with the last one.  A mark is a value, or a value
  // and the words for it; `pace`: milliseconds from one value to the next while it plays; `of_view`:
  // whether it is the open view's own.
  function range(el, doc, {name, label, start, end, marks, tell, of_view = false, pace = WHOLE_RANGE / (end - start)}) {
    el.classList.add("mhc-range");
    const head = element("div", "head", el);
    const id = `mhc-${name}-${Math.random().toString(36).slice(2)}`;
    element("label", "", head, {htmlFor: id, textContent: label});
    const output = element("output", "", head, {htmlFor: id});
    const input = element("input", "", el, {type: "range", id, min: start, max: end, step: 1});
    const scale = element("div", "marks", el, {ariaHidden: "true"});
    let before = -1;
    for (const [mark, words] of marks.map((mark) => (Array.isArray(mark) ? mark : [mark, mark]))) {
      const share = (mark - start) / (end - start);
      const at = element("span", share - before < 0.1 ? "close" : "", scale, {textContent: words});
      before = share;
      at.style.setProperty("--at", share);
      at.addEventListener("click", () => take(mark));
    }
    let last_told = 0;
    let timer = null;
    const take = (value) => {
      move(doc, name, value);
      clearTimeout(timer);
      const say = () => {
        last_told = performance.now();
        timer = null;
        tell(state_of(doc)[name]);
      };
      timer = setTimeout(say, Math.max(0, last_told + 100 - performance.now()));
    };
    player(doc).pending.add(() => {
      if (timer === null) return;
      clearTimeout(timer);
      timer = null;
      tell(state_of(doc)[name]);
    });
    input.addEventListener("input", () => take(input.valueAsNumber));
    mhc.offer(doc, name, input, take);
    play_button(head, doc, {label, value: () => state_of(doc)[name], take, start, end, pace, of_view});
    return listen(doc, (state) => {
      if (input.valueAsNumber !== state[name]) input.value = state[name];
      input.style.setProperty("--at", (state[name] - start) / (end - start));
      text(output, String(state[name]));
    });
  }

  // ---- play --------------------------------------------------------------------------------

  const SPEEDS = [0.5, 1, 2];
  const WHOLE_RANGE = 10_000; // milliseconds from one end to the other, at speed 1

  const players = new WeakMap(); // Bokeh document -> {buttons, speed, pending}

  function player(doc) {
    if (!players.has(doc)) players.set(doc, {buttons: new Set(), speed: 1, pending: new Set()});
    return players.get(doc);
  }

  // Steps a value from where it is (or from the start, if it is at the end) up to the end; if the
  // system asks for reduced motion, straight to the end.
  function play_button(parent, doc, {label, value, take, start, end, pace, of_view}) {
    const speed = element("button", "speed", parent, {type: "button"});
    const button = element("button", "play", parent, {type: "button"});
    let timer = null;
    const say = (what, sign) => {
      button.replaceChildren(sign);
      element("span", "what", button, {textContent: ` ${what}`});
      button.ariaLabel = `${what} ${label}`;
    };
    const stop = () => {
      clearTimeout(timer);
      timer = null;
      say("Play", "▶");
    };
    stop();
    button.addEventListener("click", () => {
      if (timer !== null) return stop();
      let now = value() >= end ? start : value();
      if (matchMedia("(prefers-reduced-motion: reduce)").matches) return take(value() >= end ? start : end);
      say("Pause", "❚❚");
      take(now);
      const step = () => {
        if (!button.isConnected || value() !== now) return stop(); // somebody took the slider
        take(++now);
        if (now >= end) stop();
        else wait();
      };
      const wait = () => {
        timer = setTimeout(step, pace / player(doc).speed);
      };
      wait();
    });
    speed.addEventListener("click", () => faster(doc));
    player(doc).buttons.add({button, speed, stop, of_view});
    show_speed(doc);
  }

  // The next of three speeds, for every play button.
  function faster(doc) {
    const each = player(doc);
    each.speed = SPEEDS[(SPEEDS.indexOf(each.speed) + 1) % SPEEDS.length];
    show_speed(doc);
  }

  function show_speed(doc) {
    const {buttons, speed} = player(doc);
    for (const each of buttons) {
      text(each.speed, `${speed === 0.5 ? "½" : speed} ×`);
      each.speed.ariaLabel = `Speed of play: ${speed}`;
    }
  }

  // Ends all play, and tells at once what has not been told: something else is to decide now.
  function halt(doc) {
    const {buttons, pending} = player(doc);
    for (const {stop} of buttons) stop();
    for (const tell of pending) tell();
  }

  // Presses the play button of the open view if it has one, else the first that is visible.
  function play(doc) {
    const {buttons} = player(doc);
    for (const each of buttons) if (!each.button.isConnected) buttons.delete(each);
    const visible = [...buttons].filter(({button}) => button.checkVisibility());
    (visible.find(({of_view}) => of_view) ?? visible[0])?.button.click();
  }

  // ---- the headline ------------------------------------------------------------------------

  // The composite's median gains (log10) without and with the projection, at the present state.
  function gains(doc, state) {
    const table = surface(doc);
    const depths = get(table.tags[0], "depths");
    const at = (iterations) => {
      const i = iterations * depths.length + depths.indexOf(state.depth);
      const forward = get(table.data, "forward.median")[i];
      const backward = get(table.data, "backward.median")[i];
      return {forward, backward, larger: Math.max(forward, backward)};
    };
    return [at(0), at(state.iterations)];
  }

  const SIDE = `<div class="side"><div class="name"></div>
      <div class="number" aria-hidden="true"><span class="base"></span><sup></sup></div>
      <div class="sub"><b class="verdict"></b><span>forward <span class="forward"></span></span>
        <span>backward <span class="backward"></span></span></div></div>`;
  const MARKUP = `<p class="lead"><span></span><span class="room" aria-hidden="true"></span></p>${SIDE}<div class="arrow" aria-hidden="true">→</div>${SIDE}
    <div class="spoken" role="status"></div>`;

  const named = ({projection, iterative}, state) =>
    [mhc.HC_NAME, mhc.projected_name(projection, iterative, state)];

  // Two huge numbers; one lasting live region speaks them half a second after the last move.
  // `chosen()` gives the title of the {projection}, whether it is {iterative}, and whether gains of
  // 1 are said of its {sums_alone}: with signs they are 1 whatever becomes of a signal.
  function headline(el, doc, chosen) {
    el.classList.add("mhc-headline");
    el.innerHTML = MARKUP;
    const sides = [...el.querySelectorAll(".side")].map((side) => ({
      side,
      name: side.querySelector(".name"),
      base: side.querySelector(".base"),
      power: side.querySelector("sup"),
      verdict: side.querySelector(".verdict"),
      forward: side.querySelector(".forward"),
      backward: side.querySelector(".backward"),
    }));
    const status = el.querySelector(".spoken");
    // There is always room for the longest sentence: nothing moves below a hand.
    const [lead, room] = el.querySelectorAll(".lead > span");
    const longest = longest_sentence(doc);
    // The story's button, which lies over the headline, stands below the sentence (mhc.css).
    const sized = new ResizeObserver(() => {
      const {offsetHeight: height} = lead.parentNode;
      if (height) document.documentElement.style.setProperty("--mhc-sentence", `${height}px`);
    });
    sized.observe(lead.parentNode);
    let timer = null;
    const stop = listen(doc, (state) => {
      const titles = named(chosen(), state);
      const both = gains(doc, state);
      write(lead, sentence(both[0].larger, state.depth, chosen()));
      write(room, longest(chosen()));
      both.forEach(({larger, forward, backward}, i) => {
        const {base, power} = rounded(larger);
        const side = sides[i];
        text(side.name, titles[i]);
        text(side.base, base);
        text(side.power, power);
        const by_sums = i === 1 && state.iterations > 0 && chosen().sums_alone;
        text(side.verdict, by_sums ? ONLY_SUMS : verdict(larger));
        write_gain(side.forward, forward);
        write_gain(side.backward, backward);
        side.side.classList.toggle("projected", i === 1 && state.iterations > 0);
      });
      clearTimeout(timer);
      timer = setTimeout(() => {
        const spoken = both.map(({larger}, i) => `${titles[i]}: ${in_words(larger)}`);
        text(status, `${state.depth} layers. ${spoken.join(". ")}.`);
      }, 500);
    });
    return () => {
      sized.disconnect();
      stop();
    };
  }

  const ONLY_SUMS = "only its sums stay 1";

  // What the two numbers are the size of, and what the dial does.
  function sentence(larger, depth, {iterative}) {
    const size = `<b>${written_out(larger)}</b>`;
    const then = larger < 0 ? `at most ${size} of it is left` : `it can be ${size} times as large`;
    return `A signal of size 1 enters. ${depth} layer${depth === 1 ? "" : "s"} later ${then}.<span class="drag"> ${iterative ? "Drag “Sinkhorn iterations”." : "The dial: 0 is off, all else is on."}</span>`;
  }

  // The longest such sentence at any depth of the present table.
  function longest_sentence(doc) {
    let [data, said, found] = [null, null, ""];
    return (chosen) => {
      const {tags, data: now} = surface(doc);
      if (now !== data || chosen.iterative !== said) {
        [data, said] = [now, chosen.iterative];
        const depths = get(tags[0], "depths");
        const of_hc = ["forward.median", "backward.median"].flatMap((name) =>
          [...get(data, name).slice(0, depths.length)]);
        const written = of_hc.filter((gain) => gain <= MOST_DIGITS);
        found = sentence(Math.max(1, ...written), depths.at(-1), chosen);
      }
      return found;
    };
  }

  const MOST_DIGITS = 27; // for which a line has room

  // A gain with all its zeros, as far as a line has room for them.
  function written_out(log10) {
    if (fate(log10) < 2 || log10 > MOST_DIGITS) return in_label(log10);
    const power = Math.floor(log10) - 1;
    const digits = BigInt(Math.round(10 ** (log10 - power))) * 10n ** BigInt(power);
    return digits.toLocaleString("en");
  }

  const write = (node, html) => {
    if (node.innerHTML !== html) node.innerHTML = html;
  };

  const write_gain = (node, log10) => write(node, in_html(log10));

  return {range, play, faster, halt, headline, write_gain};
})());
