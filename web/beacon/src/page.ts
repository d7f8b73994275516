/** What the page says of itself. */

export type Values = Record<string, unknown>;

/** Where the visitor was before: `document.referrer`, then the addresses of this page's own navigation. */
let before = document.referrer;
let here = "";

/** The address without its fragment, which may hold what only the page is meant to know. */
export function address(): string {
    return location.href.split("#")[0]!;
}

/** True once per address: the page shows something else than at the last call. */
export function moved(): boolean {
    const now = address();
    if (now === here) return false;
    if (here) before = here;
    here = now;
    return true;
}

export function pageValues(): Values {
    const category = document.querySelector<HTMLMetaElement>('meta[name="percorso:category"]');
    return {
        title: document.title, url: address(), path: location.pathname, search: location.search, referrer: before,
        ...(category ? {category: category.content} : {}),
    };
}

export function context(version: string): Values {
    const {title, url, path, search, referrer} = pageValues();
    const campaign: Values = {};
    let tagged = false;
    new URLSearchParams(location.search).forEach((value, name) => {
        if (/^utm_./.test(name)) {
            campaign[name === "utm_campaign" ? "name" : name.slice(4)] = value;
            tagged = true;
        }
    });
    return {
        library: {name: "percorso-beacon", version},
        page: {title, url, path, search, referrer},
        userAgent: navigator.userAgent,
        locale: navigator.language,
        timezone: Intl.DateTimeFormat().resolvedOptions().timeZone,
        screen: {width: screen.width, height: screen.height, density: devicePixelRatio},
        ...(tagged ? {campaign} : {}),
    };
}
