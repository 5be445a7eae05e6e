/* The manifest topic, as publishing.pml and applying.pml share it: claims and manifests in one order, which only grows.
 * An entry whose token is its own offset is a claim. A manifest is valid when its token is the latest claim's before it.
 */
#define NONE 255

byte entries;                  /* the end of the topic */
byte token[L];                 /* of entry i; i itself: a claim */
byte previous[L], last[L];     /* of a manifest: it publishes the transactions previous+1 .. last */

/* What is true, whoever knows it. Only assertions look at these. */
byte latest = NONE;            /* the claim that is in force */
byte published;                /* transactions that valid manifests name */

#define is_claim(i) (token[i] == (i))

inline append_claim() { token[entries] = entries; latest = entries; entries++ }

inline append_manifest(its_token, from, to) {
  token[entries] = its_token; previous[entries] = from; last[entries] = to;
  if
  :: its_token == latest && to > published -> published = to
  :: else
  fi;
  entries++
}
