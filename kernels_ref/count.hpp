#pragma once

namespace ospsim {

/// Exact counts of tokens and token pairs: a grid of 2^53 tokens has 2^106 ordered pairs.
__extension__ typedef unsigned __int128 Count;

}  // namespace ospsim
