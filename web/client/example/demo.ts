// Services and their messages in JSON. Written by `tidegate typescript`; changes here are lost.

import type * as tidegate from "@tidegate/client";

export const Chat: tidegate.Service<{
  /**
   * Joins a room for as long as the call lasts. The first message names the room and the author and may be without
   * text; what was said lately comes back first, then everything as it is said, one's own words too. Ending the
   * request stream leaves the room. Who reads too slowly is cut off with RESOURCE_EXHAUSTED.
   */
  join: tidegate.Duplex<ChatMessage, ChatEvent>;
}> = {
  name: "demo.chat.v1.Chat",
  methods: {
    join: { name: "Join", kind: "duplex" },
  },
};

export const Liker: tidegate.Service<{
  /** All posts, oldest first. */
  listPosts: tidegate.Unary<ListPostsRequest, ListPostsResponse>;
  /** One post. NOT_FOUND where there is none with this id. */
  getPost: tidegate.Unary<GetPostRequest, Post>;
  /** Likes a post and answers with it as it is then. A named liker counts once, however often it asks. */
  like: tidegate.Unary<LikeRequest, Post>;
  /** Takes a like back. A named liker takes back only its own. */
  unlike: tidegate.Unary<UnlikeRequest, Post>;
  /** First every post as it is (a snapshot), then each change as it happens, until the caller goes away. */
  watchLikes: tidegate.ServerStream<WatchLikesRequest, LikeEvent>;
  /** Publishes each post as it arrives; a bad one ends the call, and those before it stay. */
  importPosts: tidegate.ClientStream<ImportPostsRequest, ImportPostsResponse>;
  /** A picture made for the post: the same post has always the same one. */
  getPicture: tidegate.Unary<GetPictureRequest, HttpBody>;
}> = {
  name: "demo.liker.v1.Liker",
  methods: {
    listPosts: { name: "ListPosts", kind: "unary", idempotent: true },
    getPost: { name: "GetPost", kind: "unary", idempotent: true },
    like: { name: "Like", kind: "unary" },
    unlike: { name: "Unlike", kind: "unary" },
    watchLikes: { name: "WatchLikes", kind: "server_stream", resume: { reply: "sequence", absent: "0", request: "afterSequence" } },
    importPosts: { name: "ImportPosts", kind: "client_stream" },
    getPicture: { name: "GetPicture", kind: "unary", idempotent: true },
  },
};

export interface ChatEvent {
  room?: string;
  kind?: ChatEvent_Kind;
  author?: string;
  /** Only of what was said. */
  text?: string;
  /** How many are in the room after the event. */
  members?: number;
  sentAt?: string;
}

export type ChatEvent_Kind =
  | "KIND_UNSPECIFIED"
  | "JOINED"
  | "LEFT"
  | "SAID"
  /** Said before this caller joined. */
  | "EARLIER"
  | number;

export interface ChatMessage {
  /** 1 to 64 bytes; the same in every message of a call. */
  room?: string;
  /** 1 to 40 characters; may be left out after the first message, and cannot change. */
  author?: string;
  /** 1 to 1,000 characters; may be empty in the first message only, which then only joins. */
  text?: string;
}

export interface GetPictureRequest {
  id?: string;
  format?: GetPictureRequest_Format;
}

export type GetPictureRequest_Format =
  | "SVG"
  | "PNG"
  | number;

export interface GetPostRequest {
  id?: string;
  /** As in ListPostsRequest. */
  liker?: string;
}

export interface ImportPostsRequest {
  /** 1 to 120 characters. */
  title?: string;
  /** 1 to 40 characters. */
  author?: string;
}

export interface ImportPostsResponse {
  imported?: number;
  /** The ids that the posts were given, in the order in which they came. */
  ids?: string[];
}

export interface LikeEvent {
  /**
   * Grows with every change, also over restarts of the service. Of a snapshot only the last event has one, so that
   * whoever was cut off in the middle of a snapshot gets it again whole.
   */
  sequence?: string;
  kind?: LikeEvent_Kind;
  /** The post after the change. */
  post?: Post;
}

export type LikeEvent_Kind =
  | "KIND_UNSPECIFIED"
  | "SNAPSHOT"
  | "LIKED"
  | "UNLIKED"
  | "PUBLISHED"
  | number;

export interface LikeRequest {
  id?: string;
  /** Who likes: at most 64 bytes. Empty: a like without a name, which counts every time. */
  liker?: string;
}

export interface ListPostsRequest {
  /** Whose likes `Post.liked` tells; empty: nobody's. */
  liker?: string;
}

export interface ListPostsResponse {
  posts?: Post[];
}

export interface Post {
  id?: string;
  title?: string;
  author?: string;
  likes?: number;
  /** Whether the liker named in the request likes it; always false in events, which go to everybody. */
  liked?: boolean;
  publishedAt?: string;
}

export interface UnlikeRequest {
  id?: string;
  /** Whose like it is. Empty: takes back a like without a name; FAILED_PRECONDITION where there is none. */
  liker?: string;
}

export interface WatchLikesRequest {
  /** Continue after the event with this sequence: events that are still remembered come again instead of the snapshot. */
  afterSequence?: string;
}

/**
 * Message that represents an arbitrary HTTP body. It should only be used for
 * payload formats that can't be represented as JSON, such as raw binary or
 * an HTML page.
 *
 *
 * This message can be used both in streaming and non-streaming API methods in
 * the request as well as the response.
 *
 * It can be used as a top-level request field, which is convenient if one
 * wants to extract parameters from either the URL or HTTP template into the
 * request fields and also want access to the raw HTTP body.
 *
 * Example:
 *
 *     message GetResourceRequest {
 *       // A unique request id.
 *       string request_id = 1;
 *
 *       // The raw HTTP body is bound to this field.
 *       google.api.HttpBody http_body = 2;
 *
 *     }
 *
 *     service ResourceService {
 *       rpc GetResource(GetResourceRequest)
 *         returns (google.api.HttpBody);
 *       rpc UpdateResource(google.api.HttpBody)
 *         returns (google.protobuf.Empty);
 *
 *     }
 *
 * Example with streaming methods:
 *
 *     service CaldavService {
 *       rpc GetCalendar(stream google.api.HttpBody)
 *         returns (stream google.api.HttpBody);
 *       rpc UpdateCalendar(stream google.api.HttpBody)
 *         returns (stream google.api.HttpBody);
 *
 *     }
 *
 * Use of this type only changes how the request and response bodies are
 * handled, all other features will continue to work unchanged.
 */
export interface HttpBody {
  /** The HTTP Content-Type header value specifying the content type of the body. */
  contentType?: string;
  /** The HTTP request/response body as raw binary. */
  data?: string;
  /**
   * Application specific response metadata. Must be set in the first response
   * for streaming APIs.
   */
  extensions?: tidegate.Any[];
}
