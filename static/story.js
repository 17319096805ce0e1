/* The story: one scene at a time, and the presenter's keys.  Python has the scenes and their states
   (mhc_demo/story/scenes.py); this file shows the present scene and asks for the next. */
"use strict";
mhc.story = (() => {
  const KEYS = [
    ["Page Down, →", "the answer to a guess, then the next scene", "scenes"],
    ["Page Up, ←", "previous scene", "scenes"],
    ["P", "play, or stop"],
    ["V", "play slower or faster"],
    ["R", "back to where the scene begins", "scenes"],
    ["R", "back to where the view begins", "view"],
    ["S", "shuffle: another seed", "seeds"],
    ["C", "clear what was guessed in this scene", "guesses"],
    ["B", "blank the screen"],
    ["N", "speaker notes in a window of their own", "scenes"],
    ["F", "full screen"],
    ["H", "these keys"],
    ["Esc", "leave the presenter's view"],
  ];

  // For the document itself, outside every component: the presenter's sizes, and page covers.
  const SHEET = `
    .mhc-presenting {
      --mhc-type: 1.5; --mhc-bar: none; --mhc-small: none; --mhc-more: none;
      --mhc-half: 1; --mhc-halves: 120px; --mhc-least: 150px; --mhc-cost: 100vh;
      --mhc-heatmap: clamp(150px, calc(100vh - var(--mhc-rest, 500px)), 36vw);
    }
    .mhc-single { --mhc-second: none; --mhc-columns: 1fr; }
    .mhc-lone { --mhc-half: 1; } /* one half of the signal has the room of both */
    .mhc-told { --mhc-lead: none; }
    .mhc-secret { --mhc-secret: hidden; --mhc-asks: block; --mhc-untold: none; }
    @media (max-width: 599.95px) { .mhc-told { --mhc-doors: none; } }
    .mhc-embedded { --mhc-bar: none; --mhc-rest: calc(100vh - 380px); }
    @media (max-width: 1500px) { .mhc-presenting { --mhc-type: 1.25; } }
    @media (max-width: 900px), (max-height: 800px) { .mhc-presenting { --mhc-type: 1; } }
    @media (max-width: 600px) { :root { --mhc-dial: 150px; --mhc-least: 230px; } }
    @media (min-width: 2800px) { .mhc-presenting { --mhc-type: 2.2; } }
    .mhc-cover { position: fixed; inset: 0; z-index: 5000; background: #000; cursor: pointer; }
    .mhc-cover.help {
      background: rgb(10 12 15 / 0.93); color: #eee; display: grid; place-content: center;
      font: clamp(18px, 1.7vw, 34px)/1.6 system-ui, sans-serif;
    }
    .mhc-cover dl { display: grid; grid-template-columns: auto auto; gap: 0 2em; margin: 0; }
    .mhc-cover dt { font-weight: 700; }
    .mhc-cover dd { margin: 0; }`;
  document.head.append(Object.assign(document.createElement("style"), {textContent: SHEET}));

  const {element} = mhc;
  const HIDING = 240; // frames in which a scene's plots should have come

  function button(parent, label, action, className = "") {
    const node = element("button", className, parent, {type: "button", textContent: label});
    node.addEventListener("click", action);
    return node;
  }

  // Does the focused element use letters and arrows itself?
  function takes_keys(node) {
    if (!(node instanceof HTMLElement)) return false;
    return node.matches("input, textarea, select, [role=slider], [role=combobox], [role=tab], "
      + "[role=menuitem], [role=listbox], [contenteditable]");
  }

  /* `scenes`: [{name, title, text, formula, question, notes, in_short, short?, guess?}], texts as HTML.
     `present()` returns the present {scene, way, revealed, presenting, title, others}, the title that
     of the view.  `ask(what)` is called for a change: {scene, way}, {guess}, {revealed, run},
     {presenting}, "reset", "shuffle", "clear", "play" or "faster".  Without a page around it, `served` is
     false: there is no other seed, and no page to return to.  Without scenes views are presented alone. */
  return function story(el, {scenes: every, present, ask, served = true}) {
    el.classList.add("mhc-story");
    const root = document.documentElement;
    const column = el.getRootNode().host?.getRootNode(); // contains this, headline and plots
    let shown = null;
    let notes = null;
    let cover = null;
    let guess = null; // {scene, ...} what covers the plots of a scene whose answer is to be guessed
    const guesses = {}; // of this visit, by the scene's name

    // The scenes of the way; all of them if a link names one beside it.
    function way() {
      const short = every.filter((s) => s.in_short);
      const {scene, way} = present();
      return way === "short" && (!scene || short.some((s) => s.name === scene)) ? short : every;
    }
    let scenes = every;
    const at = () => scenes.findIndex((s) => s.name === present().scene);
    const go = (i) => ask({scene: scenes[Math.min(Math.max(i, 0), scenes.length - 1)].name});
    const step = (by) => (every.length === 0 ? null : at() < 0 ? go(0) : go(at() + by));
    const needed = { // by the keys
      scenes: () => every.length > 0, view: () => every.length === 0,
      seeds: () => served, guesses: () => mhc.hall?.leads,
    };
    const asks = (scene) => scene?.guess && present().revealed !== scene.name;
    const forward = () => (asks(scenes[at()]) ? reveal(scenes[at()]) : step(1));

    function hide(node, hidden) {
      if (!hidden && !node.dataset.hidden) return;
      node.style.display = hidden ? "none" : "";
      node.dataset.hidden = hidden ? "1" : "";
    }

    // Plots that a scene is not about leave their room to the others.  A plot may come later.
    let hiding = 0;
    function hide_plots() {
      cancelAnimationFrame(hiding);
      const names = scenes[at()]?.hidden ?? [];
      root.classList.toggle("mhc-lone", names.some((name) => name.startsWith("signal-")));
      root.classList.toggle("mhc-single", names.includes("headline-projected"));
      let left = 0;
      const look = () => {
        for (const {model, el, parent} of mhc.figures()) {
          const place = parent?.el ?? el.parentElement;
          if (!place?.parentNode) continue; // it is about to leave, or to come
          hide(place, names.includes(model.name));
          const beside = [...place.parentNode.children].filter((each) => !each.matches("style, link"));
          const pair = place.parentNode.host ?? place.parentNode;
          if (!pair.matches(".mhc-stage, .mhc-demo")) hide(pair, beside.every((each) => each.dataset.hidden));
        }
        if (names.length && left++ < HIDING) hiding = requestAnimationFrame(look);
      };
      look();
    }

    function draw() {
      const {scene, presenting, title, revealed, way: chosen} = present();
      scenes = way();
      root.classList.toggle("mhc-presenting", presenting);
      root.classList.toggle("mhc-told", at() >= 0); // the scene says what the numbers are
      const i = at();
      watch_guess(scenes[i]);
      hide_plots();
      const wanted = [scene, chosen, revealed === scene, presenting, i < 0 && presenting && title].join();
      if (shown !== wanted) {
        shown = wanted;
        el.replaceChildren();
        if (i < 0 && presenting) entitle(title);
        else if (i < 0) begin();
        else tell(scenes[i], i, presenting);
      }
      update_notes();
      requestAnimationFrame(measure);
    }

    // ---- guesses --------------------------------------------------------------------------------

    // Covers what the answer would show, and draws it when there is one.
    function watch_guess(scene) {
      if (guess && guess.scene !== scene) {
        guess.stop();
        guess = null;
      }
      if (!asks(scene)) {
        if (guess && !guess.revealed) {
          guess.revealed = true;
          guess.reveal(() => {});
        }
        return;
      }
      if (guess?.revealed) guess.stop(); // back to where the scene begins
      else if (guess) return;
      guess = {scene, revealed: false, ...mhc.guess(scene.guess, {
        given: () => guesses[scene.name],
        take: (value) => take(scene, value),
        type: () => parseFloat(getComputedStyle(el.querySelector("p") ?? el).fontSize),
      })};
      guess.compare(present().others ?? []);
    }

    function take(scene, value) {
      guesses[scene.name] = value;
      ask({guess: {scene: scene.name, value}});
      const hint = el.querySelector(".hint");
      if (hint) hint.textContent = HINT_GIVEN;
    }

    function reveal(scene) {
      ask({revealed: scene.name, run: scene.guess.then});
      if (scene.guess.plays) setTimeout(() => ask("play"), 2000);
    }

    const HINT = "Drag the mark in the plot to your guess.";
    const HINT_GIVEN = "Then see the answer.";

    // What is asked in place of the scene's text.
    function ask_first(section, {name, guess: {asks, choices}}) {
      element("p", "text", section, {innerHTML: asks});
      if (!choices.length) {
        element("p", "hint", section, {textContent: name in guesses ? HINT_GIVEN : HINT});
        return;
      }
      const group = element("div", "choices", section, {role: "radiogroup", ariaLabel: "Your guess"});
      choices.forEach((title, i) => {
        const choice = button(group, title, () => {
          take(scenes[at()], i);
          for (const each of group.children) each.ariaChecked = String(each === choice);
        });
        choice.role = "radio";
        choice.ariaChecked = String(guesses[name] === i);
        element("span", "votes", choice);
      });
      count_votes();
    }

    // What was guessed, beside what is so.
    function compare_guess(section, {name, guess: {answer, choices, right}}) {
      if (!(name in guesses)) return;
      const value = guesses[name];
      const line = element("p", "compared", section, {role: "status"});
      if (!choices.length) line.innerHTML = `You guessed ${mhc.in_html(value)}; it is <b>${answer}</b>.`;
      else if (value === right) line.textContent = `You guessed right: “${choices[right]}”.`;
      else line.textContent = `You guessed “${choices[value]}”; it is “${choices[right]}”.`;
    }

    // How many of the others chose each.
    function count_votes() {
      const others = present().others ?? [];
      el.querySelectorAll(".choices .votes").forEach((node, i) => {
        const votes = others.filter((value) => value === i).length;
        node.textContent = votes ? ` ${votes}` : "";
      });
    }

    function compare() {
      guess?.compare(present().others ?? []);
      count_votes();
    }

    // The plots get the height that everything else leaves, which is known only after layout.
    function measure() {
      const stage = column?.querySelector(".mhc-stage");
      if (!stage || root.classList.contains("mhc-embedded")) return;
      const scrolled = column.host.closest("main")?.scrollTop ?? window.scrollY;
      const above = stage.getBoundingClientRect().top + scrolled;
      const {presenting} = present();
      const rest = presenting ? all_but_plots(stage, above) : 20 * Math.round((above + 150) / 20); // legend, note
      const now = parseFloat(root.style.getPropertyValue("--mhc-rest"));
      // The first page has rounded it too, and may have measured half a pixel less.
      if (!presenting && Math.abs(above + 150 - now) <= 12) return;
      if (rest !== now) root.style.setProperty("--mhc-rest", `${rest}px`);
    }

    // In a lecture all must be in one screen: the rows of plots share what is left of it.
    function all_but_plots(stage, above) {
      const boxes = plots_in(stage);
      const rows = new Set(boxes.map(({top}) => Math.round(top))).size;
      if (!rows) return Math.round(above + 80);
      const [top, bottom] = [Math.min(...boxes.map((b) => b.top)), Math.max(...boxes.map((b) => b.bottom))];
      const others = above + stage.getBoundingClientRect().height - (bottom - top);
      return Math.ceil(innerHeight - (innerHeight - others) / rows);
    }

    // The places that plots have, which is where they do not overflow.
    function plots_in(stage) {
      const views = mhc.figures().filter(({el, parent}) =>
        parent && el.checkVisibility() && within(el, stage));
      return views.map(({parent}) => parent.el.getBoundingClientRect());
    }

    function within(node, stage) {
      for (; node; node = node.parentNode ?? node.host) if (node === stage) return true;
      return false;
    }

    function begin() {
      if (!every.length) return;
      const bar = element("div", "begin", el, {inert: mhc.connection.lost});
      const tell = (way) => ask({way, scene: every[0].name});
      button(bar, "▶ The story", () => tell("short"), "main").title = "In two minutes";
      button(bar, "As a lecture", () => tell("whole")).title = `All ${every.length} scenes`;
    }

    // A view that is presented without a scene.
    function entitle(title) {
      const section = element("section", "scene presenting", el, {ariaLabel: title});
      element("h2", "", section, {textContent: title});
      const nav = element("nav", "", section, {ariaLabel: "Presenter's view", inert: mhc.connection.lost});
      if (every.length) button(nav, "▶ The story", () => go(0));
      mhc.hall?.count(nav);
      button(nav, "Keys", help);
      button(nav, "Leave", () => ask({presenting: false}));
    }

    // How many pixels the words of a scene take, as they would be told now.
    function height_of(name) {
      const trial = element("div", `${el.className} mhc-wing`, el.parentNode, {inert: true});
      const i = scenes.findIndex((each) => each.name === name);
      tell(scenes[i], i, present().presenting, trial);
      const {height} = trial.getBoundingClientRect();
      trial.remove();
      return height;
    }

    function tell(scene, i, presenting, into = el) {
      const section = element("section", presenting ? "scene presenting" : "scene", into, {ariaLabel: `Scene ${i + 1} of ${scenes.length}`});
      element("h2", "", section, {textContent: scene.title});
      const short = scenes !== every;
      const open = asks(scene);
      if (open) ask_first(section, scene);
      else {
        element("p", "text", section, {innerHTML: (short && scene.short) || scene.text});
        if (scene.guess) compare_guess(section, scene);
        if (!short) tell_more(section, scene);
      }
      const nav = element("nav", "", section, {ariaLabel: "Story", inert: mhc.connection.lost});
      button(nav, "◀ Back", () => step(-1), "back").disabled = i === 0;
      element("span", "where", nav, {textContent: `${i + 1} / ${scenes.length}`});
      if (open) button(nav, "Answer ▶", forward, "main").ariaLabel = "Show the answer";
      else if (i < scenes.length - 1) button(nav, "Next ▶", forward, "main");
      else if (every.length > scenes.length) button(nav, "The whole lecture ▶", () => ask({way: "whole", scene: every[0].name}), "main");
      else button(nav, "Next ▶", forward, "main").disabled = true;
      mhc.hall?.count(nav);
      if (presenting) {
        button(nav, "Keys", help);
        button(nav, "Leave", () => ask({presenting: false}));
      } else {
        button(nav, "Present", () => ask({presenting: true}), "wide");
        button(nav, "Notes", open_notes, "wide");
        if (served) button(nav, "Close the story", () => ask({scene: ""}), "close");
      }
    }

    // What the short way leaves out.
    function tell_more(section, {formula, question}) {
      const more = matchMedia("(max-width: 600px)").matches ? folded(section) : section;
      if (formula) element("div", "formula", more, {innerHTML: formula});
      element("p", "question", more, {innerHTML: question});
    }

    // On a phone the plot comes first: what can wait opens on a touch.
    function folded(section) {
      const more = element("details", "", section);
      element("summary", "", more, {textContent: "Formula and question"});
      return more;
    }

    // ---- over everything: blank screen, help ------------------------------------------------

    function uncover() {
      cover?.remove();
      cover = null;
    }

    function blank() {
      if (cover) return uncover();
      cover = element("div", "mhc-cover", document.body, {role: "img", ariaLabel: "Blank screen"});
      cover.addEventListener("click", uncover);
    }

    function help() {
      if (cover) return uncover();
      cover = element("div", "mhc-cover help", document.body, {role: "dialog", ariaLabel: "Keys"});
      const list = element("dl", "", cover);
      for (const [key, meaning, needs] of KEYS) {
        if (needs && !needed[needs]()) continue;
        element("dt", "", list, {textContent: key});
        element("dd", "", list, {textContent: meaning});
      }
      cover.addEventListener("click", uncover);
    }

    // ---- speaker notes ----------------------------------------------------------------------

    function open_notes() {
      if (!every.length) return;
      notes = window.open("", "mhc-notes", "width=900,height=700");
      if (!notes) return;
      notes.document.title = "Speaker notes";
      notes.document.body.style.cssText =
        "font: 24px/1.5 system-ui, sans-serif; max-width: 34em; margin: 1.5em auto; padding: 0 1em;"
        + "background: #111; color: #eee";
      notes.document.addEventListener("keydown", on_key, true);
      update_notes();
    }

    function update_notes() {
      if (!notes || notes.closed) return;
      const i = at();
      const body = notes.document.body;
      body.replaceChildren();
      if (i < 0) return;
      const add = (tag, text, style = "") => {
        const node = notes.document.createElement(tag);
        node.textContent = text;
        node.style.cssText = style;
        body.append(node);
      };
      add("div", `${i + 1} / ${scenes.length}`, "opacity: 0.7");
      add("h1", scenes[i].title, "font-size: 1.3em; margin: 0.2em 0");
      add("p", scenes[i].notes);
      const question = new DOMParser().parseFromString(scenes[i].question, "text/html");
      add("p", question.body.textContent, "font-style: italic");
      if (scenes[i + 1]) add("p", `Next: ${scenes[i + 1].title}`, "opacity: 0.7; margin-top: 2em");
    }

    // ---- keys -------------------------------------------------------------------------------

    const ACTIONS = {
      p: () => ask("play"),
      v: () => ask("faster"),
      r: () => ask("reset"),
      s: () => ask("shuffle"),
      c: () => ask("clear"),
      b: blank,
      h: help,
      "?": help,
      n: open_notes,
      f: full_screen,
    };

    function full_screen() {
      if (document.fullscreenElement) document.exitFullscreen();
      else document.documentElement.requestFullscreen?.().catch(() => {});
    }

    // A browser goes full screen only on a key or a click: the first one does it.
    let first = present().presenting;
    function first_gesture() {
      if (!first || !present().presenting) return;
      first = false;
      if (!document.fullscreenElement) full_screen();
    }

    function action_of(event) {
      if (event.key === "PageDown") return forward;
      if (event.key === "PageUp") return () => step(-1);
      if (takes_keys(event.composedPath()[0])) return null;
      if (event.key === "ArrowRight") return forward;
      if (event.key === "ArrowLeft") return () => step(-1);
      if (event.key === "Escape") return cover ? uncover : () => ask({presenting: false});
      const letter = event.key.toLowerCase();
      return letter === "c" && !mhc.hall?.leads ? null : ACTIONS[letter];
    }

    function on_key(event) {
      if (!present().presenting || event.ctrlKey || event.altKey || event.metaKey) return;
      const action = action_of(event);
      if (!action) return;
      event.preventDefault();
      event.stopImmediatePropagation();
      if (event.key !== "Escape" && event.key.toLowerCase() !== "f") first_gesture();
      if (cover && action !== blank && action !== help) uncover();
      action();
    }

    window.addEventListener("keydown", on_key, true);
    window.addEventListener("pointerdown", first_gesture, true);
    const sized = new ResizeObserver(measure);
    for (const part of column?.children ?? []) sized.observe(part);
    draw();
    const stop_listening = mhc.connection.listen(({lost}) => {
      for (const each of el.querySelectorAll("nav, .begin")) each.inert = lost;
    });
    return {
      draw,
      compare,
      height_of,
      stop() {
        stop_listening();
        guess?.stop();
        window.removeEventListener("keydown", on_key, true);
        window.removeEventListener("pointerdown", first_gesture, true);
        sized.disconnect();
        document.documentElement.classList.remove("mhc-presenting");
        uncover();
        notes?.close();
      },
    };
  };
})();
