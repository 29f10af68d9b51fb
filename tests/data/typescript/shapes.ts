// Services and their messages in JSON. Written by `tidegate typescript`; changes here are lost.

import type * as tidegate from "@tidegate/client";

/**
 * A service.
 * It has /* comments *​/ of more lines.
 */
export const Shapes: tidegate.Service<{
  /** Once. */
  Get: tidegate.Unary<Tree, Tree>;
  get: tidegate.Unary<string, Empty>;
  then_: tidegate.ServerStream<string_, tidegate.JsonValue>;
  uRLs: tidegate.ClientStream<shapes_v1_Outer_Inner, { [member: string]: tidegate.JsonValue }>;
  talk: tidegate.Duplex<shapes_v1_Outer_Inner_, tidegate.Any>;
}> = {
  name: "shapes.v1.Shapes",
  methods: {
    Get: { name: "Get", kind: "unary", idempotent: true },
    get: { name: "get", kind: "unary" },
    then_: { name: "Then", kind: "server_stream" },
    uRLs: { name: "URLs", kind: "client_stream" },
    talk: { name: "Talk", kind: "duplex" },
  },
};

export const class_: tidegate.Service<{
  call: tidegate.Unary<Outer, Outer>;
}> = {
  name: "shapes.v1.class",
  methods: {
    call: { name: "Call", kind: "unary" },
  },
};

export type Empty = { [member: string]: never };

export type Closed =
  /** The first. */
  | "RED"
  | "GREEN";

/** @deprecated */
export interface Outer {
  inner?: shapes_v1_Outer_Inner[];
  part?: Outer_Part;
}

export interface shapes_v1_Outer_Inner {
  type?: string;
}

export interface Outer_Part {
  yes?: boolean;
}

export type shapes_v1_Outer_Inner_ = { [member: string]: never };

/** A tree of trees. */
export type Tree = {
  name: string;
  withDefault?: string;
  weights?: tidegate.Float[];
  byName?: { [key: string]: Tree };
  "odd-name"?: string;
  /** Said elsewhere. */
  "[shapes.v1.extra]"?: Closed;
} & tidegate.OneOf<{
  /** A leaf. */
  leaf: string;
  tree: Tree;
  nothing: null;
}> & tidegate.OneOf<{
  named: Closed;
  /** @deprecated */
  mixed: string;
}>;

export type string_ = { [member: string]: never };
