/** The beacon: window.percorso with the calls of Segment, made from the script tag.
 *
 * Before the script has loaded a page may write `(window.percorso = window.percorso || []).push(["track", "name", {}])`. */
import {watchForms} from "./forms";
import {watchNavigation} from "./navigation";
import {askedForPrivacy, readOptions} from "./options";
import {context, pageValues, type Values} from "./page";
import {Queue} from "./queue";
import {safe, uuid} from "./safe";
import {Visitor} from "./visitor";

const VERSION = "0.1.0";

type Args = unknown[];
interface Percorso {
    page(...args: Args): void;
    identify(...args: Args): void;
    track(...args: Args): void;
    group(...args: Args): void;
    alias(...args: Args): void;
    reset(): void;
    ready(callback: () => void): void;
    push(call: Args): void;
    version: string;
}

const isText = (value: unknown): value is string | number => typeof value === "string" || typeof value === "number";
const valuesOf = (value: unknown): Values => (typeof value === "object" && value ? (value as Values) : {});
/** Leading names, an object, options: the shape of every Segment call. `identify(null, {...})` has no name. */
const split = (args: Args): [string[], Values, Values] => {
    let next = 0;
    while (next < args.length && (args[next] === null || args[next] === undefined)) next++;
    const texts: string[] = [];
    while (isText(args[next])) texts.push(String(args[next++]));
    return [texts, valuesOf(args[next]), valuesOf(args[next + 1])];
};

safe(() => {
    const options = readOptions();
    const global = window as unknown as {percorso?: Percorso | Args[]};
    const earlier = Array.isArray(global.percorso) ? global.percorso : [];
    if (global.percorso && !Array.isArray(global.percorso)) return;
    if (!options) console.warn("percorso: the script tag has no data-key");
    const silent = !options || (options.respectSignals && askedForPrivacy());
    const visitor = silent ? undefined : new Visitor(options.domain);
    const queue = silent ? undefined : new Queue(options.host + "/v1/batch", options.key);

    const send = (type: string, body: Values, given: Values): void => {
        if (!queue || !visitor) return;
        queue.add({
            type, messageId: uuid(), timestamp: new Date().toISOString(), anonymousId: visitor.anonymousId,
            ...(visitor.userId ? {userId: visitor.userId} : {}), ...body,
            context: {...context(VERSION), ...valuesOf(given.context)},
        });
    };
    const track = (name: string, properties: Values): void => send("track", {event: name, properties}, {});

    const calls = {
        page(...args: Args): void {
            const [texts, properties, given] = split(args);
            const name = texts[texts.length - 1];
            send("page", {
                ...(name ? {name} : {}),
                properties: {...pageValues(), ...(texts.length > 1 ? {category: texts[0]} : {}), ...properties},
            }, given);
        },
        identify(...args: Args): void {
            const [[userId], traits, given] = split(args);
            if (userId && visitor) visitor.is(userId);
            send("identify", {traits}, given);
        },
        track(...args: Args): void {
            const [[event], properties, given] = split(args);
            if (event) send("track", {event, properties}, given);
        },
        group(...args: Args): void {
            const [[groupId], traits, given] = split(args);
            if (groupId) send("group", {groupId, traits}, given);
        },
        alias(...args: Args): void {
            const [[userId, previousId], given] = split(args);
            if (!userId || !visitor) return;
            const previous = previousId || visitor.userId || visitor.anonymousId;
            visitor.is(userId);
            send("alias", {userId, previousId: previous}, given);
        },
        reset(): void {
            if (visitor) visitor.reset();
        },
        ready(callback: unknown): void {
            if (typeof callback === "function") setTimeout(callback as () => void, 0);
        },
        push(call: unknown): void {
            const [name, ...args] = call as [keyof typeof calls, ...Args];
            (calls[name] as (...args: Args) => void)(...args);
        },
    };
    for (const name of Object.keys(calls) as (keyof typeof calls)[]) {
        calls[name] = safe(calls[name] as (...args: Args) => void) as never;
    }
    global.percorso = {...calls, version: VERSION} as Percorso;
    if (!silent) {
        if (options.pages) watchNavigation(() => calls.page());
        if (options.forms) watchForms(track);
    }
    earlier.forEach((call) => calls.push(call));
})();
