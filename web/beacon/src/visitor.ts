/** Who is browsing: an anonymous id of our own, in a first-party cookie and in localStorage, and the user id that the
 * page gave. Without either store both last as long as the page. */
import {safe, uuid} from "./safe";
import {read, remove, write} from "./storage";

const ANONYMOUS = "percorso_anonymous_id";
const USER = "percorso_user_id";
const DAYS = 395;

export class Visitor {
    anonymousId: string;
    userId: string | undefined;

    constructor(private readonly domain: string) {
        this.anonymousId = readCookie() || read(ANONYMOUS) || uuid();
        this.userId = read(USER) || undefined;
        this.keep();
    }

    is(userId: string): void {
        this.userId = userId;
        write(USER, userId);
    }

    /** Somebody else sits here now. */
    reset(): void {
        this.anonymousId = uuid();
        this.userId = undefined;
        remove(USER);
        this.keep();
    }

    private keep(): void {
        write(ANONYMOUS, this.anonymousId);
        safe(() => {
            document.cookie = ANONYMOUS + "=" + this.anonymousId + ";path=/;max-age=" + DAYS * 86400 + ";samesite=lax"
                + (this.domain && ";domain=" + this.domain) + (location.protocol === "https:" ? ";secure" : "");
        })();
    }
}

const readCookie = safe((): string | undefined => {
    const found = new RegExp("(?:^|; )" + ANONYMOUS + "=([\\w-]{8,64})").exec(document.cookie);
    return found ? found[1] : undefined;
});
