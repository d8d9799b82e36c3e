// Browsers start no workers from files. Where the site is opened from a folder, a hidden frame does the search instead.
class FrameWorker extends EventTarget {
  constructor(url) {
    super();
    const frame = document.createElement("iframe");
    frame.hidden = true;
    document.body.append(frame);
    this.inside = frame.contentWindow;
    this.inside.document.write("<!doctype html><body>");
    this.inside.document.close();
    this.inside.postMessage = (data) => setTimeout(() => this.tell(this, structuredClone(data)));
    this.inside.importScripts = async (...urls) => {
      for (const one of urls) await this.load(one);
    };
    this.ready = this.load(url);
  }

  load(url) {
    const script = this.inside.document.createElement("script");
    script.src = url;
    this.inside.document.body.append(script);
    return new Promise((done) => script.addEventListener("load", done));
  }

  tell(target, data) {
    const event = new MessageEvent("message", { data });
    target.dispatchEvent(event);
    target.onmessage?.(event);
  }

  postMessage(data) {
    this.ready.then(() => this.tell(this.inside, structuredClone(data)));
  }
}

if (location.protocol === "file:") window.Worker = FrameWorker;
