/** Form starts and submits: the names of fields, never their values.
 *
 * `data-percorso-form="name"` names a form (else its name, id or address does), `"off"` leaves it alone;
 * `data-percorso-properties='{"a": 1}'` goes along as properties. */
import type {Values} from "./page";
import {safe} from "./safe";

const UNINTERESTING = /^(hidden|submit|button|reset|image)$/;

export function watchForms(track: (name: string, properties: Values) => void): void {
    const started = new WeakSet<Element>();
    const report = (name: string, form: HTMLFormElement, more: Values): void => {
        if (form.dataset.percorsoForm === "off") return;
        const given = safe(() => JSON.parse(form.dataset.percorsoProperties || "{}") as Values)();
        track(name, {form: nameOf(form), ...more, ...given});
    };
    document.addEventListener("input", safe((event: Event) => {
        const field = event.target as HTMLInputElement;
        const form = field.form;
        if (!form || started.has(form)) return;
        started.add(form);
        report("form_started", form, {field: field.name || field.id});
    }), true);
    // On the way up: the page's own handlers (which may name the visitor) come first.
    document.addEventListener("submit", safe((event: Event) => {
        const form = event.target as HTMLFormElement;
        report("form_submitted", form, {fields: fieldNames(form)});
        started.delete(form);
    }));
}

function nameOf(form: HTMLFormElement): string {
    return form.dataset.percorsoForm || form.getAttribute("name") || form.id
        || new URL(form.getAttribute("action") || "", location.href).pathname;
}

function fieldNames(form: HTMLFormElement): string[] {
    const found = new Set<string>();
    Array.from(form.elements).forEach((element) => {
        const field = element as HTMLInputElement;
        if (field.name && !UNINTERESTING.test(field.type)) found.add(field.name);
    });
    return Array.from(found);
}
