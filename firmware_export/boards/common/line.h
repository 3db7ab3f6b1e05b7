/*
 * line.h - the serial line of a board that is a program of this machine: a pseudo-terminal, whose path is printed as
 * one JSON line. Nothing here waits.
 */
#ifndef LINE_H
#define LINE_H

#include <stddef.h>
#include <stdint.h>

struct line {
    int fd;     /* -1: unplugged for good */
    int closed; /* nobody has the other side open */
    uint8_t out[16384];
    size_t used; /* bytes of `out` that have not been taken yet */
};

/* Opens the pseudo-terminal and prints its path; ends the program where there is none to be had. */
void line_open(struct line *line);

/* Received bytes, up to `capacity`; returns how many. */
size_t line_read(struct line *line, uint8_t *data, size_t capacity);

/* All of `data` or nothing: 1, or 0 if the line is full. A line that nobody listens to takes everything. */
int line_write(struct line *line, const uint8_t *data, size_t length);

/* Passes on what is in `out`, as far as it is taken. */
void line_drain(struct line *line);

/* The cable is pulled, for good. */
void line_unplug(struct line *line);

#endif
