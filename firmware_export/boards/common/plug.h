/*
 * plug.h - when is the serial line opened? A board with a USB bridge is reset then, by DTR; a pseudo-terminal has no
 * such line, so the openings of its file are counted in place of it.
 */
#ifndef PLUG_H
#define PLUG_H

#include "line.h"

/* Begins to watch the other side of an open line; ends the program where that is not possible. */
void plug_watch(const struct line *line);

/* 1 once for each time that the line is opened while nobody had it open. */
int plug_opened(const struct line *line);

#endif
