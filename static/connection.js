/* The page's one connection to the server, which reconnects by itself and reports its loss.

   Bokeh gets a websocket that never closes.  Frames are counted on both sides and kept until the
   other side has them, so that a new connection continues where the lost one ended: the other half
   is mhc_demo/app/lasting.py.  If the server no longer knows the page, the page is opened anew with
   the link of what it shows. */
"use strict";
mhc.connection = (() => {
  const Wire = window.WebSocket;
  const MARK = "~";
  // Milliseconds of silence until the page asks for a sign of life, which costs the server 0.08 ms
  // of processor (measured with 40 pages, 2026-11): 3 % of a core for a hall of 300.
  const ASK = 800;
  const SILENT = 1000; // ... from then until the page reports that nothing answers
  const GIVEN_UP = 6000; // ... until another connection is tried
  const OPENING = 5000; // ... that a connection may take to open
  const PAUSES = [0, 500, 1000, 2000, 4000, 8000, 15000];
  const REFUSALS = 4; // of several processes that share a port, another one may have the page
  const ACKNOWLEDGED = 64; // frames, and bytes, after which the server is told that it need keep them no longer
  const ACKNOWLEDGED_BYTES = 2 ** 20;
  const MOST = 20_000; // frames kept for a server that is not there

  // `silent`: the server does not answer; clicks are sent when it does.  `lost`: there is no
  // connection, and the widgets are inert.  `waiting`: the page shows less than has been requested.
  const state = {silent: false, lost: false, waiting: false};
  const listeners = new Set();
  const keepers = new Set(); // functions that bring the link up to date
  const here = document.currentScript.src; // an address of the server, whatever its path
  let leaving = false;
  let latest = null; // the socket of the live page
  addEventListener("pagehide", () => { leaving = true; });
  addEventListener("pageshow", () => { leaving = false; });

  class LastingSocket {
    constructor(url, protocols) {
      Object.assign(this, {
        url: url.split("?")[0], protocols, readyState: Wire.CONNECTING, binaryType: "arraybuffer",
        onopen: null, onmessage: null, onclose: null, onerror: null,
        wire: null, live: false, opened: false, lasting: false, ended: false,
        timer: null, watch: null, heard: performance.now(), failures: 0, refusals: 0,
        kept: [], sent: 0, received: 0, acknowledged: 0, bytes: 0, greeted: false,
      });
      latest = this;
      this.connect();
      addEventListener("online", () => this.now());
      document.addEventListener("visibilitychange", () => { if (!document.hidden) this.now(); });
    }

    addEventListener() {} // nobody needs to know of losses, which are repaired

    // ---- the wire ------------------------------------------------------------------------

    connect() {
      clearTimeout(this.timer);
      const resuming = this.opened;
      const url = resuming ? `${this.url}?resume=${this.received}` : this.url;
      const wire = this.wire = new Wire(url, this.protocols);
      wire.binaryType = "arraybuffer";
      this.greeted = false;
      this.timer = setTimeout(() => { if (!this.greeted) this.drop(); }, OPENING);
      wire.onopen = () => {
        if (resuming) return; // waits for the server's count
        this.opened = this.live = true;
        this.readyState = Wire.OPEN;
        this.onopen?.(new Event("open"));
      };
      wire.onmessage = (event) => { if (wire === this.wire) this.hear(event); };
      wire.onclose = () => { if (wire === this.wire) this.drop(); };
    }

    hear(event) {
      const {data} = event;
      if (typeof data === "string" && data.startsWith(MARK)) {
        this.lasting = true;
        this.has(Number(data.slice(1)));
        if (!this.live) for (const frame of this.kept) this.wire.send(frame);
        this.alive();
        return;
      }
      this.received += 1;
      this.bytes += data.byteLength ?? data.length;
      this.alive();
      const much = this.received - this.acknowledged >= ACKNOWLEDGED || this.bytes >= ACKNOWLEDGED_BYTES;
      if (this.lasting && much) this.tell();
      this.onmessage?.(event);
    }

    // The server has `count` of our frames.
    has(count) {
      while (this.sent - this.kept.length < count) this.kept.shift();
    }

    tell() {
      this.acknowledged = this.received;
      this.bytes = 0;
      this.wire.send(`${MARK}${this.received}`);
    }

    send(frame) {
      if (mhc.hall?.follows && !mhc.hall.passes(frame)) return;
      if (!this.lasting) return this.wire.send(frame);
      this.sent += 1;
      this.kept.push(frame);
      if (this.live) this.wire.send(frame);
      else if (this.kept.length > MOST) this.anew();
    }

    close() {
      this.ended = true;
      clearTimeout(this.timer);
      clearTimeout(this.watch);
      this.wire?.close(1000);
    }

    // ---- is it there? --------------------------------------------------------------------

    alive() {
      if (!this.greeted) clearTimeout(this.timer);
      this.live = this.greeted = true;
      this.failures = this.refusals = 0;
      this.heard = performance.now();
      tell_all(this, {});
      this.after(ASK, () => this.ask());
    }

    // If the timer is very late, the page was asleep or busy, and an answer may already be there.
    after(milliseconds, then) {
      clearTimeout(this.watch);
      const due = performance.now() + milliseconds;
      this.watch = setTimeout(() => (performance.now() > due + 500 ? this.ask() : then()), milliseconds);
    }

    ask() {
      if (!this.live || !this.lasting || this.ended) return;
      if (document.hidden) return this.after(5 * ASK, () => this.ask());
      const patience = performance.now() - this.heard > 2 * GIVEN_UP ? 0 : GIVEN_UP - SILENT;
      this.tell();
      this.after(SILENT, () => {
        tell_all(this, {silent: true});
        this.after(patience, () => this.drop());
      });
    }

    // Called when the network or the page is back.
    now() {
      if (this.ended || leaving) return;
      if (this.live) this.ask();
      else if (this.wire === null) this.connect();
    }

    drop() {
      const {wire} = this;
      this.wire = null;
      this.live = false;
      clearTimeout(this.watch);
      clearTimeout(this.timer);
      if (wire) {
        wire.onclose = wire.onmessage = wire.onopen = null;
        wire.close();
      }
      if (this.ended || leaving) return;
      if (this.opened && !this.lasting) return this.received ? this.end() : this.anew();
      this.failures += 1;
      const tell = () => tell_all(this, {silent: true, lost: true});
      if (this.failures > 1 || !this.opened) tell();
      else this.watch = setTimeout(tell, SILENT); // a short loss is not reported
      if (this.failures > 1) this.look();
      else this.again(0);
    }

    // For a server other than ours, which speaks Bokeh's protocol alone.
    end() {
      this.ended = true;
      this.readyState = Wire.CLOSED;
      tell_all(this, {silent: true, lost: true});
      this.onclose?.(new CloseEvent("close", {code: 1006}));
    }

    again(pause) {
      this.timer = setTimeout(() => this.connect(), pause * (0.75 + 0.5 * Math.random()));
    }

    // No connection: is the server away, or has it forgotten this page?
    async look() {
      const there = await answers();
      if (this.live || this.wire || this.ended || leaving) return;
      if (!there) return this.again(PAUSES[Math.min(this.failures, PAUSES.length - 1)]);
      this.refusals += 1;
      if (this.refusals < (this.opened ? REFUSALS : 2)) this.again(150);
      else this.anew();
    }

    anew() {
      this.ended = true;
      tell_all(this, {silent: true, lost: true});
      const open = async () => {
        if (!await answers()) return setTimeout(open, PAUSES.at(-1)); // it went again
        keepers.forEach((keep) => keep());
        leaving = true;
        location.reload();
      };
      setTimeout(open, remember(state.waiting));
    }
  }

  async function answers() {
    try {
      const options = {method: "HEAD", cache: "no-store", signal: AbortSignal.timeout(4000)};
      const {status} = await fetch(here, options);
      return status < 500; // a proxy answers for a server that is away
    } catch {
      return false;
    }
  }

  // Does a frame request something that is not shown yet?  A click does, and a change of Panel's
  // model of a widget (its types end in a digit); depth, iterations and sizes do not, as the browser
  // follows them by itself.
  function asks(frame) {
    if (typeof frame !== "string" || !frame.includes('"events"')) return false;
    return JSON.parse(frame).events.some(({kind, model, attr, msg_data}) => {
      if (kind === "MessageSent") return msg_data.name === "dom_event";
      const {type} = window.Bokeh?.documents.at(-1)?.get_model_by_id(model.id) ?? {};
      if (/^Page\d+$/.test(type)) return attr === "dark_theme";
      return /\d$/.test(type) && !/^(Slider|BrowserWindow)\d+$/.test(type);
    });
  }

  // ---- a note from this page to the next one --------------------------------------------------

  const NOTE = "mhc-opened-anew";
  const SOON = 60_000; // milliseconds; a page that is opened anew again within them waits longer

  function recalled() {
    try {
      return JSON.parse(sessionStorage.getItem(NOTE)) ?? {times: 0, at: 0};
    } catch { // a frame without storage, or with somebody else's note
      return {times: 0, at: 0};
    }
  }

  // Returns the milliseconds to wait before opening anew, so that a hall does not do so all at once.
  function remember(dropped) {
    const {times, at} = recalled();
    const again = Date.now() - at < SOON ? times : 0;
    const note = {times: again + 1, at: Date.now(), dropped, shown: false};
    try {
      sessionStorage.setItem(NOTE, JSON.stringify(note));
    } catch {}
    return again ? Math.min(1000 * 2 ** again, 30_000) : 200 * Math.random();
  }

  // ---- reporting -----------------------------------------------------------------------------

  const SHEET = `
    .mhc-connection {
      position: fixed; left: 8px; bottom: 6px; z-index: 6000; max-width: calc(100vw - 16px);
      box-sizing: border-box; padding: 0.25em 0.8em; border-radius: 6px; background: #23272e; color: #fff;
      font: calc(14px * var(--mhc-type, 1))/1.35 system-ui, sans-serif;
    }
    .mhc-connection:empty { padding: 0; } /* not hidden: a live region must be there before its text */
    .mhc-silent { --mhc-served: 0.45; }
    .mhc-waiting { --mhc-shown: 0.35; }`;
  const SILENCE = "No answer from the server.";
  const LOST = "No connection to the server.";
  const GOES_ON = " Depth and iterations go on; the rest waits until it is back.";
  const WAITS = " What you asked for last waits until it is back; what you see is from before.";
  const ANEW = "The connection was lost. This page was opened anew, as it was.";
  const DROPPED = " What you asked for meanwhile was dropped.";
  const line = Object.assign(document.createElement("div"), {className: "mhc-connection"});
  line.setAttribute("role", "status");

  function say(text) {
    if (line.textContent !== text) line.textContent = text;
  }

  function begin() {
    document.head.append(Object.assign(document.createElement("style"), {textContent: SHEET}));
    document.body.append(line);
    const note = recalled();
    if (!note.at || note.shown) return;
    say(ANEW + (note.dropped ? DROPPED : ""));
    setTimeout(() => { if (!state.silent) say(""); }, 10_000);
    try {
      sessionStorage.setItem(NOTE, JSON.stringify({...note, shown: true}));
    } catch {}
  }
  if (document.body) begin();
  else addEventListener("DOMContentLoaded", begin);

  function tell_all(socket, {silent = false, lost = false}) {
    const waiting = silent && (state.waiting || socket.kept.some(asks));
    if (silent === state.silent && lost === state.lost && waiting === state.waiting) return;
    Object.assign(state, {silent, lost, waiting});
    document.documentElement.classList.toggle("mhc-silent", silent);
    document.documentElement.classList.toggle("mhc-waiting", waiting);
    say(silent ? (lost ? LOST : SILENCE) + (waiting ? WAITS : GOES_ON) : "");
    still();
    listeners.forEach((listener) => listener(state));
  }

  // Widgets that need the server are dimmed while it is silent, and inert without a connection.
  function still() {
    for (const {model, el} of window.Bokeh?.index?.query?.(() => true) ?? []) {
      if (model.css_classes?.includes("mhc-stage")) el.style.opacity = state.waiting ? "var(--mhc-shown)" : "";
      if (model.type !== "panel.models.esm.ReactComponent" || model.class_name === "Page") continue;
      el.inert = state.lost;
      el.style.opacity = state.silent ? "var(--mhc-served)" : "";
    }
  }

  window.WebSocket = function (url, protocols) {
    // Without an origin there can be no connection; static/alone.js reports that.
    const ours = protocols?.[0] === "bokeh" && self.origin !== "null";
    return ours ? new LastingSocket(url, protocols) : new Wire(url, protocols);
  };
  window.WebSocket.prototype = Wire.prototype;
  for (const name of ["CONNECTING", "OPEN", "CLOSING", "CLOSED"])
    Object.defineProperty(window.WebSocket, name, {value: Wire[name]});

  return {
    get lost() { return state.lost; },
    listen(listener) {
      listeners.add(listener);
      listener(state);
      return () => listeners.delete(listener);
    },
    // Sends a frame of our own, which the server knows.
    say(frame) { latest?.send(frame); },
    // Brings the link up to date.
    write() { keepers.forEach((keep) => keep()); },
    // `keep` is called before the page is opened anew, and brings its link up to date.
    keep(keep) {
      keepers.add(keep);
      return () => keepers.delete(keep);
    },
  };
})();
