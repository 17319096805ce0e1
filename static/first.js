/* The first page (mhc_demo/app/first.py): it draws the first picture from a table, and then puts the
   live page, which needs the server, in its place.

   The live page is loaded when the picture stands, and joined when the server has time for it, or at
   once when the visitor wants something that needs it.  It takes over what was done meanwhile. */
"use strict";
mhc.first = (() => {
  const {element} = mhc;
  const read = (id) => JSON.parse(document.getElementById(id)?.textContent ?? "null");
  const data = read("mhc-first-data");
  const host = document.querySelector(".mhc-first");
  const QUIET = 700; // milliseconds without a move until a live page that is not wanted takes over
  const AGAIN = 4000; // ... until a server that did not answer is asked again
  const LATE = 400; // ... until the page says that something takes a while
  const root = document.documentElement;
  const here = `${location.pathname.replace(/\/$/, "")}/token`;

  const CHOICES = ["enters", "direction", "writes"]; // of the signal
  const wishes = {}; // what the visitor wants of the live page: view, scene, theme, sidebar
  let wanted = false; // whether that, or no picture, makes it urgent
  let hurry = () => {};
  let story = null;
  let first = null; // {doc, ...} of the picture
  let now = {}; // depth and iterations
  let begun = null; // what they were at first
  let moved = 0;
  let moved_on = false; // to another view or scene
  let held = false; // whether a finger or a button is down

  const pause = (milliseconds) => new Promise((done) => setTimeout(done, milliseconds));
  const painted = () => new Promise((done) => requestAnimationFrame(() => setTimeout(done)));
  const find = (selector) => host?.shadowRoot.querySelector(selector);

  function want(wish) {
    if ("view" in wish || "scene" in wish) {
      write(); // the entry of the browser's history that this one follows
      first && mhc.halt(first.doc);
      moved_on = true;
    }
    Object.assign(wishes, wish);
    wanted = true;
    hurry();
    setTimeout(say, LATE);
  }

  function say() {
    const line = find(".waiting");
    if (line && host.isConnected) mhc.text(line, "One moment: the rest of the page is on its way.");
  }

  // ---- the picture -------------------------------------------------------------------------

  async function draw() {
    const picture = read("mhc-first-picture");
    host.classList.toggle("closed", data.follow);
    find(".theme").addEventListener("click", () => {
      const system = matchMedia("(prefers-color-scheme: dark)").matches;
      const dark = !(host.dataset.theme === "auto" ? system : host.dataset.theme === "dark");
      const theme = dark === system ? "auto" : dark ? "dark" : "light";
      host.dataset.theme = root.dataset.ground = theme;
      first?.paint();
      want({theme});
    });
    find(".menu").addEventListener("click", () => {
      if (innerWidth < 600) return want({sidebar: true}); // a drawer, which the live page has
      host.classList.toggle("closed");
      want({sidebar: !host.classList.contains("closed")});
    });
    find("aside").addEventListener("click", () => want({}));
    mhc.doors(find(".doors"), {
      groups: data.groups,
      choose: (view) => want({view}),
      present: () => want({presenting: true}),
    })(data.view);
    tell_story();
    host.offered = data.offered;
    host.addEventListener("mhc-choice", ({detail}) => want(detail));
    const drawn = mhc.embed(host, picture);
    measure(); // with headline and sliders, and before the plots
    first = await drawn;
    mhc.listen(first.doc, (state) => {
      now = {...state};
      begun ??= now;
      moved = performance.now();
      setTimeout(write, 200);
    });
    for (const [event, down] of [["pointerdown", true], ["pointerup", false], ["pointercancel", false]])
      addEventListener(event, () => { held = down; }, {capture: true});
  }

  function tell_story() {
    const {scenes, scene, way, revealed} = data;
    const present = {scene, way, revealed, presenting: false};
    story = mhc.story(find(".story"), {
      scenes,
      present: () => present,
      ask: (what) => {
        if (typeof what !== "object") return;
        const {run, ...wish} = what;
        if (!("guess" in what || "revealed" in what)) return want(wish);
        Object.assign(wishes, wish); // the live page takes it over when it comes
        Object.assign(present, wish);
        if (run) mhc.run(first.doc, run);
        story.draw();
      },
    });
  }

  // The height that everything else leaves to the plots, as in story.js.
  function measure() {
    const article = find("article");
    const above = find(".mhc-stage").getBoundingClientRect().top + article.scrollTop;
    root.style.setProperty("--mhc-rest", `${20 * Math.round((above + 150) / 20)}px`);
  }

  const in_link = (value) => (typeof value === "boolean" ? Number(value) : value);

  // The link of what is shown; without a picture, as it was given, with what is to be corrected.
  function query() {
    if (!host) return location.search;
    const chosen = new URLSearchParams(data.query);
    const {own_layer, ...linked} = now; // no link has the layer of a visitor's own model
    for (const [name, value] of Object.entries(linked)) chosen.set(name, value);
    if (now.scale === "full") chosen.delete("scale"); // as links leave out what is usual
    for (const name of ["view", "scene", "way", "revealed", "theme", "zoom", ...CHOICES])
      if (name in wishes) chosen.set(name, in_link(wishes[name]));
    if (wishes.theme === "auto") chosen.delete("theme");
    if (wishes.presenting) chosen.set("present", 1);
    return `?${chosen}`;
  }

  function write() {
    if (!host?.isConnected || Object.keys(wishes).length) return;
    const shown = data.query
      .replace(/([?&])(depth|iterations)=\d+/g, (_, before, name) => `${before}${name}=${now[name]}`)
      .replace(/&scale=\w+/, "") + (now.scale === "full" ? "" : `&scale=${now.scale}`);
    if (location.search !== shown) history.replaceState(history.state, "", shown + location.hash);
  }

  // ---- the live page -----------------------------------------------------------------------

  function arrived(node) {
    return new Promise((done, failed) => {
      node.addEventListener("load", done, {once: true});
      node.addEventListener("error", failed, {once: true});
    });
  }

  // Loads styles and scripts, these in their order; those that do not arrive, again and again.
  async function load({scripts, modules, styles}) {
    const link = (href) => Object.assign(document.createElement("link"), {rel: "stylesheet", href});
    const script = (src, more) => Object.assign(document.createElement("script"), {src, ...more});
    const bring = async (make) => {
      for (;;) {
        const node = make();
        const there = arrived(node);
        document.head.append(node);
        try {
          return await there;
        } catch {
          node.remove();
          await pause(AGAIN);
        }
      }
    };
    for (const href of scripts) element("link", "", document.head, {rel: "preload", as: "script", href});
    for (const href of modules) element("link", "", document.head, {rel: "modulepreload", href});
    const looks = styles.map((href) => bring(() => link(href)));
    for (const src of scripts) await bring(() => script(src, {}));
    await Promise.all([...looks, ...modules.map((src) => bring(() => script(src, {type: "module"})))]);
  }

  // A session's token, at once if it is wanted, else when the server has time, and the wishes that
  // the session will know of.
  async function token() {
    for (;;) {
      const [asked, known] = [wanted, {...wishes}];
      let again = AGAIN;
      try {
        const dark = matchMedia("(prefers-color-scheme: dark)").matches;
        const headers = {"Mhc-Wanted": asked ? "1" : "0", "Mhc-Dark": dark ? "1" : "0"};
        const answer = await fetch(here + query(), {headers, cache: "no-store"});
        const {token, seconds, follows} = await answer.json();
        if (follows) mhc.hall.follow();
        if (token) return {token, known};
        again = 1000 * seconds;
      } catch {}
      if (wanted && !asked) continue;
      const sooner = new Promise((done) => { hurry = done; });
      await Promise.race([pause(again * (1 + 0.5 * Math.random())), sooner]);
    }
  }

  async function join() {
    const keep = () => history.replaceState(history.state, "", query() + location.hash);
    const forget = mhc.connection.keep(keep); // if the page has to be opened anew before it has joined
    const session = await token();
    await load(data.live);
    const place = element("div", "mhc-live", document.body, {id: "mhc-live", inert: Boolean(first)});
    await Bokeh.embed.embed_items({}, [{token: session.token, elementid: place.id, roots: {}, root_ids: []}]);
    const live = Bokeh.documents.findLast((doc) => doc !== first?.doc);
    if (!live) return; // connection.js reports it
    forget();
    if (first) {
      while (!stands(live)) await pause(50);
      while (held || performance.now() - moved < (wanted ? 0 : QUIET)) await pause(50);
      const known = {...wishes};
      take_over(live, session.known);
      await painted();
      take_over(live, known); // what was done meanwhile
    }
    finish(place);
  }

  const models = (doc, type) => [...doc.all_models].filter((model) => new RegExp(`^${type}\\d+$`).test(model.type));

  // The controls come after the live page's first picture, and maybe more of the ensemble.
  const stands = (live) => live.is_idle && (mhc.hall.follows || models(live, "Share").length > 0)
    && !models(live, "Headline")[0].computing;

  // Does on the live page what was done on the first one since its session was asked for.
  function take_over(live, known) {
    // A page that follows a lecture opens where that is by now, and stays unless it was moved.
    const own = (name) => name in now && !(mhc.hall.follows && now[name] === begun[name]);
    for (const slider of models(live, "Slider"))
      if (own(slider.state_name) && slider.value !== now[slider.state_name]) slider.value = now[slider.state_name];
    const fresh = (name) => name in wishes && wishes[name] !== known[name];
    const [page] = models(live, "Page");
    if (fresh("theme"))
      page.dark_theme = wishes.theme === "auto" ? matchMedia("(prefers-color-scheme: dark)").matches : wishes.theme === "dark";
    if ("sidebar" in wishes && page.sidebar_open !== wishes.sidebar) page.sidebar_open = wishes.sidebar;
    const [story] = models(live, "Story");
    for (const name of ["way", "scene", "revealed"]) if (fresh(name)) story[name] = wishes[name];
    if ("guess" in wishes) story.guess = wishes.guess; // no link has it
    if (fresh("presenting")) story.present = wishes.presenting;
    for (const controls of models(live, "SignalControls"))
      for (const name of ["zoom", ...CHOICES]) if (fresh(name)) controls[name] = wishes[name];
    for (const control of models(live, "ScaleControl"))
      if (own("scale") && now.scale && control.scale !== now.scale) control.scale = now.scale;
    if (fresh("view")) models(live, "Doors")[0].view = wishes.view;
  }

  function finish(place) {
    place.inert = false;
    document.querySelector("body > .mhc-still")?.remove();
    if (first) {
      const focused = host.shadowRoot.activeElement;
      const scrolled = find("article").scrollTop;
      const name = focused?.closest(".range")?.dataset.name;
      story.stop();
      first.stop?.();
      host.remove();
      first.doc.clear();
      Bokeh.documents.splice(Bokeh.documents.indexOf(first.doc), 1);
      const main = deep(document, "main");
      if (main) main.scrollTop = scrolled;
      if (name) deep(document, `.mhc-range input[id^="mhc-${name}"]`)?.focus();
    }
    root.classList.add("mhc-joined");
  }

  // The first element that matches, in shadow roots too.
  function deep(from, selector) {
    const found = from.querySelector(selector);
    if (found) return found;
    for (const each of from.querySelectorAll("*")) {
      const inside = each.shadowRoot && deep(each.shadowRoot, selector);
      if (inside) return inside;
    }
    return null;
  }

  async function begin() {
    if (host) {
      await draw();
      await painted();
      wanted = data.follow || Boolean(mhc.hall.key);
    } else {
      wanted = true;
    }
    await join();
  }

  // An entry that an earlier page made, gone back to before there is a live page to show it.
  addEventListener("popstate", () => {
    if (!root.classList.contains("mhc-joined")) location.reload();
  });
  begin();
  return {want, scenes: data?.scenes, get moved() { return moved_on; }};
})();
