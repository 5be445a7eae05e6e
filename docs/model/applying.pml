/* Applying: what the log holds reaches the target exactly once in effect. Two appliers, one target, the network.
 * The steps are named for the functions of relay/pipeline/apply.cc and of relay/sink/target.h; README.md has bounds and mutations.
 *
 * Checked: I1 at the end the target has what the log validly holds up to its first gap; I2 rows and position move together,
 * I3 each transaction once; I4 neither the position nor a row's version falls; I5 applied <= valid end of the log.
 * And nobody is refused for what he has done himself, which is what the applier lock is for.
 */
#ifndef N
#define N 3                    /* source transactions: each appends a row to a ledger and writes one and the same keyed row */
#endif
#ifndef L
#define L 5                    /* entries of the manifest topic */
#endif
#ifndef CRASHES
#define CRASHES 2
#endif
#ifndef LOST
#define LOST 1
#endif
#ifdef GUARD_ALONE
#define NO_LOCK
#define NO_FENCE
#endif
#ifdef FENCE_ALONE
#define NO_LOCK
#endif
#include "log.pml"

#define ORPHAN 2
#define upto(t) ((1 << (t)) - 1)       /* the transactions 1 .. t as bits */

/* The target, as committed. */
byte position, position_offset = NONE; /* the row of millrace.applied: what is applied, the offset of its last manifest */
byte ledger;                           /* transactions whose rows are there */
byte version;                          /* of the keyed row */
byte mover = NONE;                     /* whose move it was */

/* The one transaction that holds the lock of that row; ORPHAN: its client has gone, the server goes on. */
byte holder = NONE, holder_next, holder_offset, holder_rows, holder_of;
bit commit_sent;
#ifndef NO_LOCK
byte lock = NONE;              /* whose session has it */
#endif

byte crashes = CRASHES;
byte lost = LOST;              /* connections that break: of an open transaction, or with COMMIT on its way */
byte whole;                    /* the valid end of the log before its first gap */
bit gap;
byte refused;                  /* appliers that have ended with 4 */
bit begun;
hidden byte k;

inline write_rows(its_rows) {
#ifndef GUARD_ALONE
  assert((ledger & its_rows) == 0);                     /* I3 */
#endif
  ledger = ledger | its_rows;
  k = 1;
  do
  :: k <= N ->
     if
     :: its_rows & (1 << (k - 1)) ->
        if
#ifndef NO_GUARD
        :: k < version -> skip                          /* … WHERE target.version < excluded.version */
#endif
        :: else -> assert(k >= version); version = k    /* I4 */
        fi
     :: else
     fi;
     k++
  :: else -> break
  od
}

inline move_position(to, its_offset, who) {
#ifndef GUARD_ALONE
  assert(to >= position);                               /* I4 */
  assert(to <= published);                              /* I5 */
#endif
  position = to; position_offset = its_offset; mover = who
}

inline check_whole() {
#ifndef GUARD_ALONE
  assert(ledger == upto(position))                      /* I1, I2: every snapshot is a state of the source */
#else
  skip
#endif
}

inline server_commits() {
#ifndef NO_ATOMIC
  write_rows(holder_rows);
#ifndef POSITION_APART
  move_position(holder_next, holder_offset, holder_of);
#endif
#endif
  check_whole();
  server_forgets()
}

inline server_forgets() {
#ifndef NO_LOCK
  if :: holder == ORPHAN && lock == ORPHAN -> lock = NONE :: else fi;
#endif
  holder = NONE; holder_next = 0; holder_offset = 0; holder_rows = 0; holder_of = 0; commit_sent = 0
}

/* The session ends; its lock goes with it, at once or, with a transaction still open, when the server has ended that. */
inline unlock(to_whom) {
#ifndef NO_LOCK
  if :: lock == me -> lock = to_whom :: else fi
#else
  skip
#endif
}

proctype applier(bit me) {
  byte at, at_offset = NONE;            /* applied_: as the target had it */
  byte seen, claim_seen;                /* the next entry to read; ClaimTracker */
  byte reach, reach_offset, pending;    /* with what was read and not applied yet: reach_, pending_ */

locate:
#ifndef NO_LOCK
end_lock:
  atomic { lock == NONE || lock == me -> lock = me }    /* lock_applier: waits; after it nothing of us is on its way */
#endif
  atomic {
    at = position; at_offset = position_offset; reach = at; pending = 0; reach_offset = 0;
    if
    :: at_offset == NONE -> seen = 0; claim_seen = NONE
    :: else -> seen = at_offset + 1; claim_seen = token[at_offset]
    fi
  }

follow:
end_follow:
  do
  :: atomic { begun && seen < entries ->                /* take_manifest */
       if
       :: is_claim(seen) -> claim_seen = seen
#ifndef CLAIMS_UNCHECKED
       :: !is_claim(seen) && token[seen] != claim_seen -> skip          /* void */
       :: !is_claim(seen) && token[seen] == claim_seen && last[seen] > reach ->
#else
       :: !is_claim(seen) && last[seen] > reach ->
#endif
          if
#ifndef CHAIN_UNCHECKED
          :: previous[seen] > reach -> goto end_refused                 /* a gap */
#endif
          :: else ->
             /* GroupReader::fill leaves out what is contained already */
#ifdef CONTAINED_BY_APPLIED
             assert((pending & upto(last[seen]) & ~upto(previous[seen])) == 0);
#endif
             pending = pending | (upto(last[seen]) & ~upto(previous[seen]) & ~upto(reach));
             reach = last[seen]; reach_offset = seen
          fi
       :: !is_claim(seen) && last[seen] <= reach -> skip                /* contained, or repeated */
       fi;
       seen++ }
  :: reach > at -> break
  :: atomic { crashes > 0 && begun -> crashes--; goto crash }
  od;

  atomic {                                              /* begin: the row's lock, then compare-and-set */
    if
#ifndef NO_LOCK
    :: lock != me -> goto locate                        /* the session that had it is gone */
    :: holder == NONE && lock == me
#else
    :: holder == NONE
#endif
    :: crashes > 0 -> crashes--; goto crash
    fi;
    if
#ifndef NO_FENCE
    :: position != at || position_offset != at_offset ->
#ifndef FENCE_ALONE
       assert(mover != me);                             /* refused for another's sake only */
#endif
       goto end_refused
#endif
    :: else ->
       holder = me; holder_next = reach; holder_offset = reach_offset; holder_rows = pending; holder_of = me
#ifdef NO_ATOMIC
       ; move_position(reach, reach_offset, me); check_whole()
#endif
    fi
  }

  atomic {                                              /* write …, COMMIT */
    if
    :: holder == me ->
       server_commits();
#ifdef POSITION_APART
       move_position(reach, reach_offset, me);
#endif
       at = reach; at_offset = reach_offset; pending = 0; reach_offset = 0;
       goto follow
    :: holder == me && lost > 0 ->                      /* committed, the reply is lost */
       lost--; server_commits(); unlock(NONE); goto locate
    :: holder == me && lost > 0 ->                      /* COMMIT is on its way, the client is told of a broken connection */
       lost--; holder = ORPHAN; commit_sent = 1; unlock(ORPHAN); goto locate
    :: holder != me -> goto locate    /* the server had ended the connection */
    :: crashes > 0 -> crashes--; goto crash
    fi
  }

crash:
  atomic {
    if :: holder == me -> holder = ORPHAN; unlock(ORPHAN) :: else -> unlock(NONE) fi;
    at = 0; at_offset = NONE; seen = 0; claim_seen = 0; reach = 0; reach_offset = 0; pending = 0;
    goto locate
  }

end_refused:
  atomic { unlock(NONE); refused++; at = 0; at_offset = 0; seen = 0; claim_seen = 0; reach = 0; reach_offset = 0; pending = 0 }
}

/* The target's server: what an orphan began is rolled back, or committed when its COMMIT was sent. It may also lose a client. */
proctype server() {
end_server:
  do
  :: atomic { holder == ORPHAN && commit_sent -> server_commits() }
  :: atomic { holder == ORPHAN -> server_forgets() }
#ifndef NO_LOCK
  :: atomic { lock < ORPHAN && lost > 0 -> lost--; if :: holder == lock -> server_forgets() :: else fi; lock = NONE }
#else
  :: atomic { holder < ORPHAN && lost > 0 -> lost--; server_forgets() }
#endif
  od
}

/* Any log: what publishing.pml lets come about, and more: a publisher that goes on from an earlier place (an old copy of the log,
 * a slot that sends again), one with a gap before it (retention), and zombies. Since it only grows, a reader that takes fewer
 * entries than there are is one that came earlier. */
inline choose_log() {
  append_claim();
  do
  :: entries < L && entries > 1 && !is_claim(entries - 1) ->
     append_claim();
     head = published;
     do
     :: head > 0 -> head--
     :: break
     od
  :: entries < L && head < N ->
     to = head + 1;
     do
     :: to < N -> to++
     :: break
     od;
     if
     :: true
     :: !gap && head + 1 < to -> head++; gap = (head > whole)
     fi;
     append_manifest(latest, head, to);
     if :: !gap && to > whole -> whole = to :: else fi;
     head = to
  :: entries < L && latest > 0 ->                       /* of the first publisher, whose claim is not the latest */
     to = 1;
     do
     :: to < N -> to++
     :: break
     od;
     append_manifest(0, to - 1, to)
  :: entries > 1 -> break
  od;
  head = 0; to = 0
}

init {
  byte head, to;
  atomic { choose_log(); run applier(0); run applier(1); run server(); begun = 1 };
  timeout ->
#ifndef GUARD_ALONE
  assert(position <= whole);                            /* nothing beyond a gap */
#ifndef FENCE_ALONE
  assert(gap || (position == whole && refused < 2))     /* I1: nothing lost; the one that lost stops, the other goes on */
#else
  assert(gap || position == whole || refused == 2)      /* I1: nothing lost, but somebody may have to start one again */
#endif
#else
  skip
#endif
}
