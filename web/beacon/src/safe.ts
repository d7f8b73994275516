/** Nothing of ours ever throws into the page. */

/** `f`, or undefined where it threw. */
export function safe<A extends unknown[], R>(f: (...args: A) => R): (...args: A) => R | undefined {
    return (...args) => {
        try {
            return f(...args);
        } catch {
            return undefined;
        }
    };
}

/** A random id in the form of a UUID of version 4, also where the page is not a secure context. */
export function uuid(): string {
    const bytes = crypto.getRandomValues(new Uint8Array(16));
    bytes[6] = (bytes[6]! & 15) | 64;
    bytes[8] = (bytes[8]! & 63) | 128;
    let text = "";
    bytes.forEach((byte, i) => {
        text += (/^(4|6|8|10)$/.test(String(i)) ? "-" : "") + (byte + 256).toString(16).slice(1);
    });
    return text;
}
