// Search in pages that were opened from a folder: browsers start no worker there, so the worker's
// script runs in a hidden frame, with messages handed over by hand.
if (location.protocol === "file:") {
  window.Worker = class extends EventTarget {
    constructor(url) {
      super();
      const frame = document.createElement("iframe");
      frame.hidden = true;
      const address = String(url).replace(/"/g, "%22");
      frame.srcdoc = `<script>window.postMessage = data => parent.dispatchEvent(
        new MessageEvent("from-worker", { data }));</` + `script><script src="${address}"></` + "script>";
      window.addEventListener("from-worker", event =>
        this.dispatchEvent(new MessageEvent("message", { data: event.data })));
      this.ready = new Promise(done => frame.addEventListener("load", done));
      this.frame = frame;
      const add = () => document.body.appendChild(frame);
      document.body ? add() : addEventListener("DOMContentLoaded", add);
    }
    postMessage(data) {
      this.ready.then(() => this.frame.contentWindow.dispatchEvent(
        new MessageEvent("message", { data })));
    }
    terminate() {
      this.frame.remove();
    }
  };
}
