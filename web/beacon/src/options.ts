/** What the script tag says. */

export interface Options {
    /** The write key of a browser source. */
    key: string;
    /** Origin of Percorso's public port. */
    host: string;
    /** Page views by themselves. */
    pages: boolean;
    /** Form starts and submits by themselves. */
    forms: boolean;
    /** Domain of the cookie; empty: this host only. */
    domain: string;
    /** Keep silent for Do Not Track and Global Privacy Control. */
    respectSignals: boolean;
}

/** `<script defer src="https://cdp.example/p.js" data-key="..."></script>`; undefined without a key. */
export function readOptions(): Options | undefined {
    const script = (document.currentScript || document.querySelector("script[data-key]")) as HTMLScriptElement | null;
    const data = script && script.dataset;
    if (!data || !data.key) return undefined;
    return {
        key: data.key,
        host: (data.host || new URL(script.src, location.href).origin).replace(/\/+$/, ""),
        pages: data.pages !== "off",
        forms: data.forms !== "off",
        domain: data.domain || "",
        respectSignals: data.dnt !== "ignore",
    };
}

interface Signals {
    doNotTrack?: string | null;
    globalPrivacyControl?: boolean;
}

/** The visitor's browser asks not to be followed. */
export function askedForPrivacy(): boolean {
    const {doNotTrack, globalPrivacyControl} = navigator as unknown as Signals;
    return globalPrivacyControl === true || doNotTrack === "1" || doNotTrack === "yes";
}
