// Types that the modules of `tidegate typescript` are made of.

/** Any JSON, as `google.protobuf.Value` is. */
export type JsonValue = null | boolean | number | string | JsonValue[] | { [member: string]: JsonValue };

/** A number, or what JSON has no number for. */
export type Float = number | "NaN" | "Infinity" | "-Infinity";

/** `google.protobuf.Any`: a message of the type that `@type` names. */
export type Any = { "@type": string; [member: string]: JsonValue };

/** At most one of the members. */
export type OneOf<Members> = {
  [Name in keyof Members]: { [Own in Name]?: Members[Own] } & { [Other in Exclude<keyof Members, Name>]?: never };
}[keyof Members];
