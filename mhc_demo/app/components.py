"""The pieces of the page that no widget library has.

The sliders of depth and iterations are the browser's own range inputs, not the widget library's:
a React slider takes half a frame for itself, and the standalone page needs them anyway.
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

    state_name = param.String(doc='Part of the browser\'s state: "depth" or "iterations".')
    label = param.String(doc="Accessible name.")
    value = param.Integer(doc="Present value; follows the moves, ten times a second at most.")
    start = param.Integer()
    end = param.Integer()
    marks = param.List(item_type=int, doc="Values marked below the slider.")

    _esm = """
    export function render({model, el, view}) {
      const {state_name: name, label, start, end, marks} = model
      const doc = view.model.document
      const host = document.createElement("div")
      el.append(host)
      const tell = (value) => { model.value = value }
      const stop = mhc.range(host, doc, {name, label, start, end, marks, tell})
      model.on("value", () => mhc.move(doc, name, model.value))
      model.on("remove", stop)
    }
    """
    _stylesheets: ClassVar = [CSS]


class Headline(JSComponent):
    """Composite gain without and with the projection, as two huge numbers.

    Written by `mhc.headline` in the browser while a slider moves.  A component of our own,
    because a pane would replace its node with each text, and the live region with it.
    """

    projection = param.String(doc="Title of the projection on the right.")
    iterative = param.Boolean(default=True, doc="Whether the dial counts its iterations.")
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
class Story(JSComponent):
    """The present scene, and the presenter's keys: see `static/story.js`.

    The browser asks for another scene, and for the presenter's view, by setting them.
    """

    scenes = param.List(item_type=dict, doc="See `scenes.told`.")
    scene = param.String(doc="Name of the present one; none if empty.")
    present = param.Boolean(default=False, doc="Whether this is the presenter's view.")
    wish = param.String(doc='"reset" or "shuffle", and a count so that it can be wished again.')

    _esm = """
    export function render({model, el, view}) {
      const doc = view.model.document
      const host = document.createElement("div")
      el.append(host)
      let wishes = 0
      const here = ["play", "faster"] // what needs no server
      const story = mhc.story(host, {
        scenes: model.scenes,
        present: () => ({scene: model.scene, presenting: model.present}),
        ask: (what) => {
          if (mhc.connection.lost && !here.includes(what)) return
          if (what === "play") mhc.play(doc)
          else if (what === "faster") mhc.faster(doc)
          else if (typeof what === "string") model.wish = `${what} ${++wishes}`
          else if ("scene" in what) model.scene = what.scene
          else model.present = what.presenting
        },
      })
      model.on("scene", story.draw)
      model.on("present", story.draw)
      model.on("remove", story.stop)
    }
    """
    _stylesheets: ClassVar = [CSS]


class Share(JSComponent):
    """Buttons that copy the link, and the state as Python; looks after the controls beside it."""

    python = param.String(doc="What is shown, as a script.")

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
    """Keeps the address bar equal to the state, so that a link is what is seen.

    `history.replaceState`, a moment after the last move: no history entry per step of a slider.
    On a phone, where the controls would cover the page, it closes their drawer on arrival.  And
    it tells when the first picture stands, so that the server can add the rest.  In an iframe it
    tells the page around it how high it is.
    """

    query = param.String(doc='The query string, "?" included.')
    inner_width = param.Integer(default=0, doc="In pixels, when the first picture stands.")
    first_picture = param.Boolean(default=False, doc="Whether the first picture stands.")
    embed = param.Boolean(default=False, doc="Whether the page is in another one's iframe.")

    _esm = """
    export function render({model, view}) {
      if (model.embed) {
        document.documentElement.classList.add("mhc-embedded")
        mhc.tell_height(view.parent.el)
      }
      const doc = view.model.document
      let timer = null
      let now = {}
      // Depth and iterations are those of the browser, which Python may not know of yet.
      const write = () => {
        clearTimeout(timer)
        const query = model.query.replace(
          /([?&])(depth|iterations)=\\d+/g, (_, before, name) => `${before}${name}=${now[name]}`)
        if (query && location.search !== query)
          history.replaceState(history.state, "", query + location.hash)
      }
      const soon = () => {
        clearTimeout(timer)
        timer = setTimeout(write, 200)
      }
      model.on("query", soon)
      const stops = [
        mhc.listen(doc, (state) => { now = {...state}; soon() }),
        mhc.connection.keep(write),
      ]
      model.on("remove", () => stops.forEach((stop) => stop()))
      const page = doc.roots().find((root) => root.data?.sidebar_open)
      if (page && innerWidth < 600) page.data.sidebar_open = false
      const stands = () => {
        model.inner_width = innerWidth
        model.first_picture = true
      }
      if (doc.is_idle) stands()
      else doc.idle.connect(stands)
    }
    """
