/* In a frame whose sandbox takes its origin away the page cannot work: no module loads, and the
   server refuses the websocket.  One sentence says so, and links to the page itself. */
"use strict";
if (self.origin === "null") {
  addEventListener("DOMContentLoaded", () => {
    const whole = new URL(location.href);
    for (const name of ["embed", "controls"]) whole.searchParams.delete(name);
    const element = (tag, properties) => Object.assign(document.createElement(tag), properties);
    // The link's text is the address, as such a frame may not be allowed to open links.
    const link = element("a", {
      href: whole.href, target: "_blank", rel: "noopener", textContent: whole.href});
    const notice = element("p", {className: "mhc-alone", role: "alert"});
    notice.append(
      "The sandbox of this frame (it lacks allow-same-origin) keeps the page from its server; "
      + "open it in a tab of its own: ", link);
    document.head.append(element("style", {textContent: `
      body > :not(.mhc-alone) { display: none !important; }
      .mhc-alone { margin: 1.5em; font: 1rem/1.5 system-ui, sans-serif; overflow-wrap: anywhere; }`}));
    document.body.append(notice);
  });
}
