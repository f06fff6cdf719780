// Where the page starts: styles first, so that nothing jumps, then the frame.
import "./page.css";
import "uplot/dist/uPlot.min.css";
import { mount } from "svelte";
import App from "./App.svelte";

// What stood there until now was only to be seen at once.
document.getElementById("page").replaceChildren();
if (typeof EventSource === "undefined") {
  const note = document.createElement("p");
  note.className = "plain";
  note.textContent =
    "This browser cannot receive live updates (server-sent events). Use a current browser, or ask from a shell: littoral sites list.";
  document.getElementById("page").append(note);
} else {
  mount(App, { target: document.getElementById("page") });
}
