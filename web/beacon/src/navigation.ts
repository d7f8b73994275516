/** Page views of pages that change their address without loading. */
import {moved} from "./page";
import {safe} from "./safe";

export function watchNavigation(seen: () => void): void {
    const look = safe(() => {
        if (moved()) seen();
    });
    // The page sets its title after it has changed the address: look once it is done.
    const soon = (): void => void setTimeout(look, 0);
    const push = history.pushState;
    history.pushState = function (...args) {
        push.apply(this, args);
        soon();
    };
    addEventListener("popstate", soon);
    // Back from the browser's memory: the same page, seen again.
    addEventListener("pageshow", safe((event: PageTransitionEvent) => {
        if (event.persisted) seen();
    }));
    const prerendered = document as Document & {prerendering?: boolean};
    if (prerendered.prerendering) document.addEventListener("prerenderingchange", look as () => void, {once: true});
    else look();
}
