/* Publishing: who may append manifests, and when the slot may forget. Two captures, one slot, the log, the network.
 * The steps are named for the functions of relay/pipeline/capture.cc and publisher.cc; README.md has bounds and mutations.
 *
 * Checked: I1 the slot never forgets what the log does not validly hold, and a calm successor brings the reader to N;
 * I2, I3 a reader gets from each manifest exactly its transactions, each once; I4 valid manifests continue each other;
 * I5 acknowledged <= valid end of the log, and the reader is not beyond it either.
 */
#ifndef N
#define N 2                    /* source transactions, of one row each; a group is one or more of them */
#endif
#ifndef L
#define L 8                    /* entries of the manifest topic; the last two are the successor's */
#endif
#ifndef R
#define R 6                    /* rows of the data topic; the last N are the successor's */
#endif
#ifndef RESTARTS
#define RESTARTS 1
#endif
#ifndef STEALS
#define STEALS 1
#endif
#ifndef HOLDS
#define HOLDS 1
#endif
#ifndef SOURCE_CRASHES
#define SOURCE_CRASHES 1
#endif
#define ENTRIES_MAX (L - 2)
#define ROWS_MAX (R - N)
#include "log.pml"

byte start[L], end[L];         /* of a manifest: the range of the data topic that holds its rows */
byte rows;                     /* the end of the data topic: rows of everybody, of failed attempts and zombies too */
byte row_token[R], row_tx[R];

byte confirmed;                /* the slot has forgotten the transactions up to here */
byte owner = NONE;             /* whose connection the slot serves; who lost it does not know */
byte restarts = RESTARTS;      /* failed attempts and crashes that remain: both begin anew, with nothing but the log */
byte steals = STEALS;          /* times that the slot may be taken from a holder that lives on as a zombie */
byte source_crashes = SOURCE_CRASHES;
byte ended;

/* One request that the network holds back: its sender has given up, it arrives when it likes. */
mtype = { nothing, a_claim, a_manifest, a_row };
mtype held = nothing;
byte holds = HOLDS;
byte held_token, held_from, held_to, held_start, held_end;

byte applied;                  /* the reader's place */
hidden byte i, n, x, from, lastvalid, tracker, result;
hidden byte exact;

/* A reader of the log, at once after each append: what it finds in a place never changes, so that a later one finds the same. */
inline read_manifest(m) {
  if
#ifndef CLAIMS_UNCHECKED
  :: token[m] != latest -> skip
#endif
  :: last[m] <= applied -> skip
  :: else ->
     assert(previous[m] <= applied);                    /* I1: no gap */
     i = start[m]; n = 0; x = previous[m];
     do
     :: i < end[m] ->
        if
#ifndef RANGES_UNCHECKED
        :: row_token[i] != token[m] -> skip             /* of a failed attempt or a zombie */
#endif
        :: else -> n++; x++; assert(row_tx[i] == x)     /* I2, I3: the group's own, in order, once */
        fi;
        i++
     :: else -> break
     od;
     assert(x == last[m]);                              /* I2: all of them */
     applied = last[m];
     assert(applied <= published)                       /* I5 */
  fi
}

inline send_manifest(its_token, its_from, its_to, its_start, its_end) {
  assert(its_token != latest || its_from == published); /* I4: valid manifests continue each other, without a step back */
  start[entries] = its_start; end[entries] = its_end;
  append_manifest(its_token, its_from, its_to);
  read_manifest(entries - 1)
}

inline send_row(its_token, its_tx) { row_token[rows] = its_token; row_tx[rows] = its_tx; rows++ }

/* The last valid manifest in [from, own): ClaimTracker over the topic. */
inline last_published_from(own) {
  tracker = 0; exact = (from == 0 -> 1 : 0); result = 0; x = from;
  do
  :: x < own ->
     if
     :: is_claim(x) -> tracker = x; exact = 1
     :: !is_claim(x) ->
#ifdef TRUST_FIRST
        if
        :: x == from && from > 0 -> tracker = token[x]; exact = 1
        :: else
        fi;
#endif
        if
        :: exact == 1 && token[x] == tracker -> result = last[x]
        :: exact == 0 && token[x] >= tracker -> tracker = token[x]; result = last[x]
        :: else
        fi
     fi;
     x++
  :: else -> break
  od
}

/* Retention may have moved the topic's start, up to the last valid manifest, which is repeated in time. Wherever the reading
 * begins, it must end with the same. */
inline last_published(own, found) {
  lastvalid = 0; tracker = NONE; i = 0;
  do
  :: i < own ->
     if
     :: is_claim(i) -> tracker = i
     :: !is_claim(i) && token[i] == tracker -> lastvalid = i
     :: else
     fi;
     i++
  :: else -> break
  od;
  from = 0;
  last_published_from(own);
  found = result;
  do
  :: from < lastvalid -> from++; last_published_from(own); assert(result == found)
  :: else -> break
  od
}

/* START_REPLICATION: the slot is free, or the server has ended the connection of its holder, who does not know. */
inline start_slot() {
  atomic {
    if
    :: owner == NONE && (me == 0 || entries > 0 || ended > 0) -> skip   /* capture 0 is the one that comes first */
    :: owner != NONE && steals > 0 -> steals--
    :: entries >= ENTRIES_MAX || rows >= ROWS_MAX -> goto finish
    fi;
    owner = me
  }
  slot_confirmed = confirmed                            /* read once; by now another may have moved it */
}

inline claim() {
  atomic {
    if
    :: entries < ENTRIES_MAX -> my_token = entries; append_claim()
    :: entries < ENTRIES_MAX && holds > 0 && restarts > 0 -> restarts--; holds--; held = a_claim; goto failed
    :: entries >= ENTRIES_MAX -> goto finish
    fi;
    tail = my_token + 1
  }
  d_step { last_published(my_token, head) }
}

proctype capture(bit me) {
#ifdef KEEP_TOKEN
  bit again;
#endif
  byte my_token, slot_confirmed, head, received, first, tail, acknowledgeable, acked;

attempt:
#ifdef CLAIM_FIRST
  claim(); start_slot();
#else
  start_slot(); claim();
#endif

  d_step {                                              /* decide_resume */
    assert(slot_confirmed <= head);                     /* I1: what the slot has forgotten is in the log; else refused */
    slot_confirmed = 0;
    received = head                                     /* what comes again is dropped by position */
  }

  do
  :: atomic { received < N && rows < ROWS_MAX ->        /* row: append, while other groups are in flight */
       if
       :: skip;
          if
#ifdef KEEP_TOKEN
          :: received == head && again -> again = 0     /* the producer's group is still open */
          :: received == head && !again -> first = rows
#else
          :: received == head -> first = rows
#endif
          :: received > head
          fi;
          received++;
          send_row(my_token, received)
       :: holds > 0 && restarts > 0 -> restarts--; holds--; held = a_row; held_token = my_token; held_from = received + 1; goto failed
       fi }

  :: atomic { received > head && entries < ENTRIES_MAX ->   /* send_manifests: every row of the group is durable */
       if
       :: send_manifest(my_token, head, received, first, rows); head = received; first = 0
       :: holds > 0 && restarts > 0 ->
          restarts--; holds--; held = a_manifest; held_token = my_token;
          held_from = head; held_to = received; held_start = first; held_end = rows; goto failed
       fi;
#ifdef ACK_BLIND
       acknowledgeable = head
#endif
     }

  :: atomic { tail < entries ->                         /* read_back: what stands in the topic behind our claim */
       do
       :: tail < entries && is_claim(tail) -> tail = 0; goto refused
       :: tail < entries && !is_claim(tail) ->
          if :: token[tail] == my_token -> acknowledgeable = last[tail] :: else fi;
          tail++
       :: tail >= entries -> break
       od }

#ifdef ACK_EARLY
  :: atomic { received > acknowledgeable -> acknowledgeable = received }
#endif

  :: atomic { acknowledgeable > acked ->                /* acknowledge: set_flushed; nobody listens when the connection is gone */
       acked = acknowledgeable;
       if
       :: owner == me && acked > confirmed -> confirmed = acked; assert(confirmed <= published)    /* I1, I5 */
       :: else
       fi }

#ifdef KEEP_TOKEN
  :: atomic { restarts > 0 && owner == me ->            /* a new slot connection under the old claim: rows come again */
       restarts--; again = (received > head -> 1 : 0); received = head }
#endif

  :: atomic { restarts > 0 -> restarts--; goto failed }             /* also: a reply that was lost, from the log or the source */
  :: atomic { head == N && tail == entries && acked == acknowledgeable -> goto finish }
  :: atomic { rows >= ROWS_MAX || entries >= ENTRIES_MAX -> goto finish }     /* as far as this model looks */
  od;

refused:                                                /* exit 4, and perhaps started again */
  atomic { if :: restarts > 0 -> restarts--; goto failed :: goto finish fi };

failed:
  atomic {
    if :: owner == me -> owner = NONE :: else fi;
    my_token = 0; slot_confirmed = 0; head = 0; received = 0; first = 0; tail = 0; acknowledgeable = 0; acked = 0;
    goto attempt
  }

finish:
  atomic {
    if :: owner == me -> owner = NONE :: else fi;
    my_token = 0; slot_confirmed = 0; head = 0; received = 0; first = 0; tail = 0; acknowledgeable = 0; acked = 0;
    ended++
  }
}

/* The late arrival, and the source's crash: its slot comes back as the last checkpoint had it. */
proctype environment() {
end_environment:
  do
  :: atomic { held != nothing ->
       if
       :: held == a_claim && entries < ENTRIES_MAX -> append_claim()
       :: held == a_manifest && entries < ENTRIES_MAX ->
          send_manifest(held_token, held_from, held_to, held_start, held_end)
       :: held == a_row && rows < ROWS_MAX -> send_row(held_token, held_from)
       :: else
       fi;
       held = nothing; held_token = 0; held_from = 0; held_to = 0; held_start = 0; held_end = 0 }
  :: atomic { source_crashes > 0 && confirmed > 0 ->
       source_crashes--; owner = NONE;
       do
       :: confirmed > 0 -> confirmed--
       :: break
       od }
  od
}

init {
  byte found;
  atomic { run capture(0); run capture(1); run environment() };
  /* A calm successor ends what they began. */
  atomic { ended == 2 ->
    append_claim();
    last_published(entries - 1, found);
    assert(confirmed <= found);                         /* I1 */
    i = rows; from = found;
    do
    :: from < N -> from++; send_row(latest, from)
    :: else -> break
    od;
    from = i;
    if :: found < N -> send_manifest(latest, found, N, from, rows) :: else fi;
    assert(applied == N && published == N) }            /* I1: nothing lost */
}
