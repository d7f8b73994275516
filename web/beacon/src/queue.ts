/** The way out. Every touchpoint is kept in localStorage, under a name of its own (so that two tabs never overwrite each
 * other), until the server has answered for it. What is sent twice has the same messageId and counts once. */
import {safe, uuid} from "./safe";
import {names, read, remove, write} from "./storage";

const PREFIX = "percorso_q_";
const PAUSE_MS = 100;
/** What a page left behind is taken over by another one after this time. */
const ORPHAN_MS = 20_000;
const MAX_KEPT = 300;
const MAX_EVENTS = 100;
/** Browsers refuse more than 64 KiB under way with keepalive. */
const MAX_BYTES = 48_000;
const LONGEST_WAIT_MS = 60_000;

interface Item {
    name: string;
    body: string;
}

export class Queue {
    private waiting: Item[] = [];
    private timer: number | undefined;
    private sending = 0;
    private failures = 0;

    constructor(private readonly url: string, private readonly key: string) {
        this.adopt();
        addEventListener("pagehide", safe(() => this.flush(true)));
        addEventListener("online", safe(() => {
            this.failures = 0;
            this.schedule(0);
        }));
        document.addEventListener("visibilitychange", safe(() => {
            if (document.visibilityState === "hidden") this.flush(true);
        }));
    }

    add(event: object): void {
        const item = {name: PREFIX + Date.now().toString(36) + "_" + uuid().slice(0, 8), body: JSON.stringify(event)};
        write(item.name, JSON.stringify([this.key, item.body]));
        this.waiting.push(item);
        if (this.waiting.length > MAX_KEPT) remove(this.waiting.shift()!.name);
        if (!this.failures) this.schedule(PAUSE_MS);
    }

    /** Takes what earlier pages could not deliver, oldest first. */
    private adopt(): void {
        const mine = new Set(this.waiting.map((item) => item.name));
        const old = (names() || []).filter((name) => name.startsWith(PREFIX) && !mine.has(name)).sort();
        const found: Item[] = [];
        let young = false;
        for (const name of old) {
            if (Date.now() - parseInt(name.slice(PREFIX.length), 36) < ORPHAN_MS) {
                young = true;
                continue;
            }
            const pair = safe(() => JSON.parse(read(name)!) as [string, string])();
            if (pair && pair[0] === this.key) found.push({name, body: pair[1]});
            else if (!pair) remove(name);
        }
        while (found.length > MAX_KEPT) remove(found.shift()!.name);
        this.waiting = found.concat(this.waiting);
        if (found.length) this.schedule(PAUSE_MS);
        if (young) setTimeout(safe(() => this.adopt()), ORPHAN_MS);
    }

    private schedule(ms: number): void {
        if (ms === 0 || this.timer === undefined) {
            clearTimeout(this.timer);
            this.timer = window.setTimeout(safe(() => {
                this.timer = undefined;
                this.flush(false);
            }), ms);
        }
    }

    /** `leaving`: the page may be gone before the answer; nobody waits for it then. */
    private flush(leaving: boolean): void {
        while (this.waiting.length && (leaving || !this.sending)) {
            const items: Item[] = [];
            for (let bytes = 0; this.waiting.length && items.length < MAX_EVENTS; ) {
                bytes += this.waiting[0]!.body.length;
                if (items.length && bytes > MAX_BYTES) break;
                items.push(this.waiting.shift()!);
            }
            this.send(items, leaving);
        }
    }

    private send(items: Item[], leaving: boolean): void {
        const body = '{"writeKey":' + JSON.stringify(this.key) + ',"sentAt":"' + new Date().toISOString()
            + '","batch":[' + items.map((item) => item.body).join() + "]}";
        // A plain string goes out as text/plain: no preflight.
        if (typeof fetch !== "function") {
            if (navigator.sendBeacon(this.url, body)) this.done(items);
            else this.again(items, 0);
            return;
        }
        this.sending++;
        fetch(this.url, {
            method: "POST", body, keepalive: body.length < 60_000, credentials: "omit", mode: "cors",
        }).then((answer) => {
            this.sending--;
            if (answer.status === 429 || answer.status >= 500) {
                this.again(items, Number(answer.headers.get("Retry-After")) * 1000);
            } else {
                // What the server will never take is not offered again.
                this.done(items);
            }
        }, () => {
            this.sending--;
            if (leaving && safe(() => navigator.sendBeacon(this.url, body))()) return;
            this.again(items, 0);
        });
    }

    private done(items: Item[]): void {
        this.failures = 0;
        items.forEach((item) => remove(item.name));
        if (this.waiting.length) this.schedule(0);
    }

    private again(items: Item[], after: number): void {
        this.waiting = items.concat(this.waiting);
        const wait = Math.min(LONGEST_WAIT_MS, 1000 * 2 ** this.failures++);
        this.schedule(Math.max(after || 0, wait * (0.5 + Math.random() / 2)));
    }
}
