/* hiredis: what programs in C write by hand on top of it. ../README.md tells the variables and
 * the lines. */
#define _POSIX_C_SOURCE 200809L
#include <hiredis/hiredis.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define SENTINELS 3

struct address {
    char host[64];
    int port;
};

static struct address sentinels[SENTINELS];
static const char *master_name;

static void fail(const char *what, const char *detail) {
    printf("failed %s: %s\n", what, detail);
    exit(1);
}

static const char *variable(const char *name) {
    const char *value = getenv(name);
    if (value == NULL) fail("variable", name);
    return value;
}

static long long now_ms(void) {
    struct timeval now;
    gettimeofday(&now, NULL);
    return now.tv_sec * 1000LL + now.tv_usec / 1000;
}

static void parse_sentinels(void) {
    char text[256];
    snprintf(text, sizeof text, "%s", variable("SENTINELS"));
    char *save = NULL;
    for (int i = 0; i < SENTINELS; i++) {
        char *part = strtok_r(i == 0 ? text : NULL, ",", &save);
        if (part == NULL || sscanf(part, "%63[^:]:%d", sentinels[i].host, &sentinels[i].port) != 2)
            fail("SENTINELS", variable("SENTINELS"));
    }
}

/* A connection that is logged in, or NULL. */
static redisContext *connect_to(const struct address *to, const char *user, const char *password) {
    struct timeval limit = {2, 0};
    redisContext *context = redisConnectWithTimeout(to->host, to->port, limit);
    if (context == NULL) return NULL;
    if (context->err == 0 && *password) {
        redisReply *reply = *user ? redisCommand(context, "AUTH %s %s", user, password)
                                  : redisCommand(context, "AUTH %s", password);
        if (reply != NULL && reply->type == REDIS_REPLY_ERROR) fail("AUTH", reply->str);
        freeReplyObject(reply);
    }
    if (context->err != 0) {
        redisFree(context);
        return NULL;
    }
    return context;
}

static redisContext *connect_sentinel(int index) {
    return connect_to(&sentinels[index], variable("SENTINEL_USER"), variable("SENTINEL_PASSWORD"));
}

/* A reply that has to be an array. */
static redisReply *ask(redisContext *context, const char *format, ...) {
    va_list words;
    va_start(words, format);
    redisReply *reply = redisvCommand(context, format, words);
    va_end(words);
    if (reply == NULL) fail(format, context->errstr);
    if (reply->type != REDIS_REPLY_ARRAY) fail(format, reply->str ? reply->str : "no array");
    return reply;
}

/* Asks one sentinel after the other; 1 if one knew the master. */
static int find_master(struct address *master) {
    for (int i = 0; i < SENTINELS; i++) {
        redisContext *context = connect_sentinel(i);
        if (context == NULL) continue;
        redisReply *reply = ask(context, "SENTINEL get-master-addr-by-name %s", master_name);
        int found = reply->elements == 2;
        if (found) {
            snprintf(master->host, sizeof master->host, "%s", reply->element[0]->str);
            master->port = atoi(reply->element[1]->str);
        }
        freeReplyObject(reply);
        redisFree(context);
        if (found) return 1;
    }
    return 0;
}

static int compare(const void *left, const void *right) {
    return *(const int *)left - *(const int *)right;
}

static void discover(struct address *master) {
    redisContext *context = connect_sentinel(0);
    if (context == NULL || !find_master(master)) fail("discovery", "no sentinel answers");
    redisReply *replicas = ask(context, "SENTINEL replicas %s", master_name);
    int ports[16];
    size_t count = 0;
    for (size_t i = 0; i < replicas->elements && count < 16; i++) {
        redisReply *fields = replicas->element[i];
        for (size_t at = 0; at + 1 < fields->elements; at += 2)
            if (strcmp(fields->element[at]->str, "port") == 0)
                ports[count++] = atoi(fields->element[at + 1]->str);
    }
    qsort(ports, count, sizeof ports[0], compare);
    redisReply *peers = ask(context, "SENTINEL sentinels %s", master_name);
    printf("discovered %s:%d ", master->host, master->port);
    for (size_t i = 0; i < count; i++) printf("%s%d", i ? "," : "", ports[i]);
    printf(" %zu\n", peers->elements);
    freeReplyObject(peers);
    freeReplyObject(replicas);
    redisFree(context);
}

static redisContext *subscribe(void) {
    redisContext *context = connect_sentinel(0);
    if (context == NULL) fail("subscription", "the sentinel does not answer");
    freeReplyObject(ask(context, "SUBSCRIBE +switch-master"));
    printf("subscribed\n");
    struct timeval short_wait = {0, 1000};
    redisSetTimeout(context, short_wait);
    return context;
}

/* Prints the events that came; a read that only timed out leaves the connection usable. */
static void print_events(redisContext *context) {
    redisReply *reply = NULL;
    while (redisGetReply(context, (void **)&reply) == REDIS_OK && reply != NULL) {
        if (reply->type == REDIS_REPLY_ARRAY && reply->elements == 3)
            printf("event %lld %s %s\n", now_ms(), reply->element[1]->str, reply->element[2]->str);
        freeReplyObject(reply);
    }
    if (context->err != REDIS_ERR_IO) fail("events", context->errstr);
    context->err = 0;
}

/* Increments the counter once; NULL after an error. */
static redisContext *write_once(redisContext *context) {
    redisReply *reply = redisCommand(context, "INCR counter");
    if (reply != NULL && reply->type == REDIS_REPLY_INTEGER) {
        printf("ok %lld %lld\n", now_ms(), reply->integer);
        freeReplyObject(reply);
        return context;
    }
    printf("error %lld %s\n", now_ms(), reply != NULL ? reply->str : context->errstr);
    freeReplyObject(reply);
    redisFree(context);
    return NULL;
}

int main(void) {
    setvbuf(stdout, NULL, _IOLBF, 0);
    printf("version %d.%d.%d\n", HIREDIS_MAJOR, HIREDIS_MINOR, HIREDIS_PATCH);
    master_name = variable("MASTER");
    parse_sentinels();
    struct address master;
    discover(&master);
    redisContext *events = subscribe();
    redisContext *context = NULL;
    while (access(variable("STOP_FILE"), F_OK) != 0) {
        if (context == NULL && find_master(&master))
            context = connect_to(&master, "", variable("DATA_PASSWORD"));
        if (context != NULL) context = write_once(context);
        print_events(events);
        struct timespec pause = {0, 20 * 1000 * 1000};
        nanosleep(&pause, NULL);
    }
    if (!find_master(&master)) fail("after", "no sentinel answers");
    printf("after %s:%d\n", master.host, master.port);
    return 0;
}
