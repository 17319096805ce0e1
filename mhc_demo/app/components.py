"""Components of the page that no widget library has.

The sliders for depth and iterations are the browser's own range inputs, not the widget library's:
a React slider alone takes half a frame, and the standalone page needs the browser's anyway.
"""

from __future__ import annotations

from typing import ClassVar

import param
from panel.custom import JSComponent

from ._panel import prompt
from .static import CSS


@prompt
class Slider(JSComponent):
    """A slider for depth or iterations that can play; its moves never wait for Python."""

    state_name = param.String(doc='What it moves: "depth", "iterations" or "replay".')
    leads = param.Boolean(
        doc="Whether the browser begins with its value; else it knows it already."
    )
    label = param.String(doc="Accessible name.")
    value = param.Integer(doc="Present value; Python hears of moves at most ten times a second.")
    start = param.Integer()
    end = param.Integer()
    marks = param.List(item_type=int, doc="Values marked below the slider.")
    settled = param.String(
        doc="A count and the value that the browser shows, told whenever Python has set one: a "
        "move may have been on its way then."
    )

    _esm = """
    export function render({model, el, view}) {
      const {state_name: name, label, start, end, marks} = model
      const doc = view.model.document
      const host = document.createElement("div")
      el.append(host)
      if (model.leads) mhc.move(doc, name, model.value)
      let own = false
      let times = 0
      const tell = (value) => {
        own = true
        model.value = value
        own = false
      }
      const stop = mhc.range(host, doc, {name, label, start, end, marks, tell})
      model.on("value", () => {
        if (own) return
        mhc.move(doc, name, model.value)
        model.settled = `${++times} ${model.value}`
      })
      model.on("remove", stop)
    }
    """
    _stylesheets: ClassVar = [CSS]


class Headline(JSComponent):
    """Composite gain without and with the projection, as two huge numbers.

    `mhc.headline` writes them in the browser while a slider moves.  A pane would not do: it
    replaces its node with each text, and with the node the live region for screen readers.
    """

    projection = param.String(doc="Title of the projection on the right.")
    iterative = param.Boolean(default=True, doc="Whether the dial counts its iterations.")
    sums_alone = param.Boolean(default=False, doc="Whether gains of 1 are said of sums alone.")
    computing = param.Boolean(default=False, doc="Whether the numbers are about to change.")

    _esm = """
    export function render({model, el, view}) {
      const host = document.createElement("div")
      el.append(host)
      const doc = view.model.document
      const stop = mhc.headline(host, doc, () => model)
      model.on("projection", () => mhc.refresh(doc))
      model.on("computing", () => { host.ariaBusy = String(model.computing) })
      model.on("remove", stop)
    }
    """
    _stylesheets: ClassVar = [CSS]


@prompt
class Doors(JSComponent):
    """The doors to the views, in groups: see `static/doors.js`."""

    groups = param.List(item_type=dict, doc="See `views.groups`.")
    view = param.String(doc="Name of the view that is open; the browser sets it.")
    present = param.Boolean(default=False, doc="As that of `Story`; the browser sets it.")

    _esm = """
    export function render({model, el}) {
      const host = document.createElement("div")
      el.append(host)
      const show = mhc.doors(host, {
        groups: model.groups,
        choose: (name) => { model.view = name },
        present: () => { model.present = true },
      })
      const follow = () => show(model.view)
      model.on("view", follow)
      model.on("remove", mhc.connection.listen(({lost}) => { host.inert = lost }))
      follow()
    }
    """
    _stylesheets: ClassVar = [CSS]


@prompt
class SignalControls(JSComponent):
    """What signal enters, and how it is looked at: see `static/signal.js`."""

    enters = param.String()
    direction = param.String()
    writes = param.Boolean()
    zoom = param.Integer()
    offered = param.Dict(doc="What can be chosen: see `mhc.signal_controls`.")

    _esm = """
    export function render({model, el, view}) {
      const doc = view.model.document
      const host = document.createElement("div")
      el.append(host)
      const names = ["enters", "direction", "writes", "zoom"]
      const show = mhc.signal_controls(host, model.offered, (change) => {
        Object.assign(model, change)
      })
      const follow = () => show(Object.fromEntries(names.map((name) => [name, model[name]])))
      names.forEach((name) => model.on(name, follow))
      model.on("zoom", () => mhc.zoom(doc, model.zoom))
      follow()
    }
    """
    _stylesheets: ClassVar = [CSS]


@prompt
class ScaleControl(JSComponent):
    """The switch of the scale of the gains: see `static/scale.js`."""

    scale = param.String(doc="The scale that is shown; the browser sets it.")

    _esm = """
    export function render({model, el, view}) {
      const doc = view.model.document
      const host = document.createElement("div")
      el.append(host)
      const stop = mhc.scale_control(host, doc, (scale) => { model.scale = scale })
      const follow = () => mhc.scale(doc, model.scale)
      model.on("scale", follow)
      model.on("remove", stop)
      follow()
    }
    """
    _stylesheets: ClassVar = [CSS]


@prompt
class Story(JSComponent):
    """The present scene, and the presenter's keys: see `static/story.js`.

    The browser sets `scene`, `way`, `revealed` and `present` when it moves on.
    """

    scenes = param.List(
        item_type=dict, doc="See `scenes_for_browser`.  None if the first page has brought them."
    )
    scene = param.String(doc="Name of the present scene, or empty.")
    title = param.String(doc="Of the view, which is presented where there is no scene.")
    way = param.String(doc="The way through the story: a value of `WAYS`.")
    revealed = param.String(doc="Name of the scene whose answer is shown, where one guesses first.")
    present = param.Boolean(default=False, doc="Whether this is the presenter's view.")
    wish = param.String(
        doc='"reset", "shuffle" or "clear", with a count so that two in a row differ.'
    )
    guess = param.Dict(
        default={}, doc="{scene, value}: what the reader guesses in a scene; the browser sets it."
    )
    others = param.List(
        item_type=(int, float), doc="What others guess in the present scene, for its plot."
    )

    _esm = """
    export function render({model, el, view}) {
      const doc = view.model.document
      const host = document.createElement("div")
      el.append(host)
      let wishes = 0
      let scene = model.scene // maybe not told yet
      let timer = null
      let told = -Infinity
      const tell = () => {
        timer = null
        told = performance.now()
        model.scene = scene
      }
      // A clicker can be pressed faster than a server builds views: it hears of the last press.
      const go = (to) => {
        mhc.halt(doc)
        scene = to
        story.draw()
        clearTimeout(timer)
        timer = setTimeout(tell, told + 300 - performance.now())
      }
      const here = ["play", "faster"] // these need no server
      const story = mhc.story(host, {
        scenes: model.scenes.length ? model.scenes : mhc.first.scenes,
        present: () => ({
          scene, way: model.way, revealed: model.revealed, presenting: model.present,
          title: model.title, others: model.others,
        }),
        ask: (what) => {
          if (mhc.connection.lost && !here.includes(what)) return
          if (what === "play") mhc.play(doc)
          else if (what === "faster") mhc.faster(doc)
          else if (typeof what === "string") model.wish = `${what} ${++wishes}`
          else {
            const {scene: to, presenting, run, ...rest} = what
            Object.assign(model, rest) // the way, a guess, its answer
            if (run) mhc.run(doc, run)
            if (to !== undefined) go(to)
            if (presenting !== undefined) model.present = presenting
          }
        },
      })
      model.on("scene", () => {
        if (timer === null) scene = model.scene
        story.draw()
      })
      for (const name of ["present", "title", "way", "revealed"]) model.on(name, story.draw)
      model.on("others", story.compare)
      model.on("remove", story.stop)
    }
    """
    _stylesheets: ClassVar = [CSS]


class Share(JSComponent):
    """Buttons that copy the link and the state as Python.

    It also runs `mhc.widgets.watch`, which makes the controls beside it accessible.
    """

    python = param.String(doc="A script that prints what the page shows.")

    _esm = """
    export function render({model, el, view}) {
      const host = document.createElement("div")
      host.className = "mhc-share"
      el.append(host)
      const button = (label, text) => {
        const node = document.createElement("button")
        node.type = "button"
        node.textContent = label
        node.addEventListener("click", async () => {
          node.textContent = (await mhc.copy(text())) ? "Copied" : "Could not copy"
          setTimeout(() => { node.textContent = label }, 1500)
        })
        host.append(node)
      }
      mhc.widgets.watch(view.parent.shadow_el)
      button("Copy link", () => location.href)
      button("Copy as Python", () => model.python)
    }
    """
    _stylesheets: ClassVar = [CSS]


class BrowserWindow(JSComponent):
    """What concerns the browser's window.

    It keeps the address bar equal to the state, a moment after the last move.  Another view or
    scene is an entry in the browser's history, and the way back to it; a slider leaves none.  It
    reports when the first picture stands, so that the server can add the rest.  On a phone, it
    closes the drawer of controls, which would cover the page.  In an iframe, it tells the page
    around it how high it is.
    """

    query = param.String(doc='The query string, "?" included.')
    inner_width = param.Integer(default=0, doc="In pixels, from the first picture on.")
    inner_height = param.Integer(default=0, doc="In pixels, from the first picture on.")
    back = param.String(doc="A count, and the query of the entry that the browser went back to.")
    returned = param.Integer(default=0, doc="The count of the last one that the page shows.")
    theme = param.String(doc='"auto" if the page is as dark as the system.')
    system_dark = param.Boolean(default=False, doc="Whether the visitor's system is dark.")
    first_picture = param.Boolean(default=False, doc="Whether the first picture stands.")
    embed = param.Boolean(default=False, doc="Whether the page is in an iframe of another page.")
    replaces = param.Boolean(
        default=False, doc="Whether another view or scene is no new entry: a lecture goes there."
    )

    _esm = """
    export function render({model, view}) {
      if (model.embed) {
        document.documentElement.classList.add("mhc-embedded")
        mhc.tell_height(view.parent.el)
      }
      const doc = view.model.document
      let timer = null
      let now = {}
      let gone = 0 // times that the visitor went back or forward
      let written = false
      const place = (query) => {
        const given = new URLSearchParams(query)
        return [given.get("view"), given.get("scene")].join()
      }
      // The first entry is the link, as it is understood; unless the first page went elsewhere.
      const is_new = (query) =>
        place(query) !== place(location.search) && (written || mhc.first?.moved)
      // Depth and iterations are the browser's, for Python may not know them yet.
      const write = () => {
        clearTimeout(timer)
        if (model.returned !== gone) return // the server is about to follow
        const query = model.query.replace(
          /([?&])(depth|iterations)=\\d+/g, (_, before, name) => `${before}${name}=${now[name]}`)
        if (query && location.search !== query) {
          const write = is_new(query) && !model.replaces ? "pushState" : "replaceState"
          history[write](history.state, "", query + location.hash)
        }
        written ||= Boolean(query)
      }
      const back = () => {
        if (location.search === model.query) return
        clearTimeout(timer)
        mhc.halt(doc)
        gone += 1
        model.back = `${gone} ${location.search}`
      }
      const soon = () => {
        clearTimeout(timer)
        timer = setTimeout(write, 200)
      }
      model.on("query", soon)
      model.on("returned", soon) // to where this page is anyway: the link may say less
      const stops = [
        mhc.listen(doc, (state) => {
          now = {...state}
          const projected = state.iterations ? "" : "none" // whether there is any
          document.documentElement.style.setProperty("--mhc-projected", projected)
          soon()
        }),
        mhc.connection.keep(write),
        mhc.on(window, "popstate", back),
      ]
      model.on("remove", () => stops.forEach((stop) => stop()))
      const page = doc.roots().find((root) => root.data && "sidebar_open" in root.data)
      if (page?.data.sidebar_open && innerWidth < 600) page.data.sidebar_open = false
      const system = matchMedia("(prefers-color-scheme: dark)")
      // At once here; but what Python answers before the page stands, Panel does not send.
      if (page && model.theme === "auto")
        page.data.setv({dark_theme: system.matches}, {sync: false})
      let unprint = null // while it is printed, for which systems are light
      const follow = () => {
        if (unprint) return
        model.system_dark = system.matches
        if (page && model.theme === "auto") page.data.dark_theme = system.matches
      }
      // The width of the plots, as they are drawn, becomes that of a page (static/dom.js).
      stops.push(mhc.on(window, "beforeprint", () => {
        unprint ??= mhc.prepare_paper(view.parent.el, Boolean(page?.data.dark_theme))
      }))
      stops.push(mhc.on(window, "afterprint", () => {
        unprint?.()
        unprint = null
        follow()
      }))
      const measure = () => {
        model.inner_width = innerWidth
        model.inner_height = innerHeight
      }
      let resized = null
      const on_resize = () => {
        clearTimeout(resized)
        resized = setTimeout(measure, 200)
      }
      stops.push(mhc.on(window, "resize", on_resize))
      const stands = () => {
        follow()
        stops.push(mhc.on(system, "change", follow))
        measure()
        model.first_picture = true
      }
      if (doc.is_idle) stands()
      else doc.idle.connect(stands)
    }
    """
