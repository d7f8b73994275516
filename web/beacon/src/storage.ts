/** localStorage that is allowed to be missing, full or forbidden. */
import {safe} from "./safe";

export const read = safe((name: string): string | null => localStorage.getItem(name));
export const remove = safe((name: string): void => localStorage.removeItem(name));
export const names = safe((): string[] => Object.keys(localStorage));
/** False if it could not be kept. */
export const write = (name: string, value: string): boolean => safe(() => {
    localStorage.setItem(name, value);
    return true;
})() === true;
