/* The publishing protocol of docs/architecture.md, Publishing, as small as it can be: two publishers, one slot, one manifest topic, one applier.
 *
 *   spin -a publishing.pml && gcc -O2 -DSAFETY -DCOLLAPSE -o pan pan.c && ./pan -m200000 -n
 *
 * As it stands: no error in 5.6 million states. Each of these is found as a lost transaction:
 *   -DACK_BLIND                          acknowledges the slot without reading its manifest back
 *   -DCLAIM_FIRST                        claims before it has the slot
 *   -DRECONNECT_KEEPS_TOKEN -DACK_BLIND  a new slot connection under an old claim (harmless while the read-back is kept)
 * How ACK_BLIND loses: A takes the slot, B takes it over, B claims, then A claims (A does not know yet). B holds the slot but its claim is void; it publishes
 * what nobody reads and tells the slot to forget it.
 */
#ifndef N
#define N 3        /* source transactions */
#endif
#ifndef L
#define L 9        /* entries the topic may hold */
#endif
#define NONE 255
byte confirmed = 0;       /* slot: transactions up to here are forgotten */
byte owner = NONE;        /* who holds the slot */
byte conn[2];             /* generation of the connection, to tell a stale holder */
byte gen = 0;
byte cnt = 0;
bool claim[L]; byte tok[L]; byte tx[L];   /* entry i: claim (token = i) or manifest (token, tx) */
byte applied = 0; byte seen = 0; byte latest = NONE;
byte crashes = 0; byte steals = 0;


proctype publisher(byte me) {
  byte P, t, token, i, mine, lastclaim; bool ok; byte myconn; byte last;
start:
  /* take the slot, possibly by force: the old holder's connection is ended, it does not know yet */
#ifdef CLAIM_FIRST
  atomic { cnt < L -> claim[cnt] = true; token = cnt; cnt++; }
  goto readback;
gotclaim:
#endif
  atomic {
    if
    :: owner == NONE -> owner = me; gen++; myconn = gen; conn[me] = gen; t = confirmed
    :: owner != NONE && owner != me && steals < 2 -> steals++; owner = me; gen++; myconn = gen; conn[me] = gen; t = confirmed
    :: owner == me -> gen++; myconn = gen; conn[me] = gen; t = confirmed
    :: (applied == N) || (cnt >= L) -> goto end
    fi
  }
#ifndef CLAIM_FIRST
  atomic { if :: cnt < L -> claim[cnt] = true; token = cnt; cnt++ :: else -> goto end fi }
readback:
#else
  goto serve;
readback:
#endif
  /* read back up to the own claim: last valid manifest before it */
  atomic { P = 0; lastclaim = NONE; i = 0;
    do :: i < token -> if :: claim[i] -> lastclaim = i :: !claim[i] && tok[i] == lastclaim -> P = (tx[i] > P -> tx[i] : P) :: else fi; i++
       :: else -> break od; i = 0; last = P }
#ifdef CLAIM_FIRST
  goto gotclaim;
serve:
#endif
  /* the slot sends t+1, t+2, ...; what is at or below P is dropped */
  do
  :: t < N ->
     t++;
     if
     :: t <= P -> skip
     :: else ->
        assert(t == last + 1);        /* a gap: the slot forgot what the log does not hold */
        last = t;
        /* manifest; the reply may come late, the publisher may be a zombie by now */
        atomic { if :: cnt < L -> claim[cnt] = false; tok[cnt] = token; tx[cnt] = t; mine = cnt; cnt++ :: else -> goto end fi }
#ifdef ACK_BLIND
        ok = true;
#else
        atomic { ok = true; i = token + 1; do :: i <= mine -> if :: claim[i] -> ok = false :: else fi; i++ :: else -> break od; i = 0 }
#endif
        if
        :: !ok -> goto end            /* lost the claim: stop */
        :: else ->
#ifdef RECONNECT_KEEPS_TOKEN
           if
           :: true -> skip
           :: owner == NONE -> atomic { owner == NONE -> owner = me; gen++; myconn = gen; conn[me] = gen }
           fi;
#endif
           atomic { if :: owner == me && conn[me] == myconn -> confirmed = (t > confirmed -> t : confirmed) :: else fi }
        fi
     fi
  :: crashes < 2 -> atomic { crashes++; if :: owner == me -> owner = NONE :: else fi }; goto start
  :: t >= N -> break
  od;
end: atomic { if :: owner == me -> owner = NONE :: else fi }
}

active proctype applier() {
  do
  :: seen < cnt -> atomic {
       if
       :: claim[seen] -> latest = seen
       :: !claim[seen] && tok[seen] == latest && tx[seen] > applied -> assert(tx[seen] == applied + 1); applied = tx[seen]
       :: else
       fi; seen++ }
  :: timeout -> break
  od
}

init { atomic { run publisher(0); run publisher(1) } }
