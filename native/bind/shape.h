// A Python mapping of traits as a DecoderShape.
#pragma once

#include <nanobind/nanobind.h>

#include <string>

#include "decoder_shape.h"

namespace sparing {

// Throws std::invalid_argument naming a trait that is out of range.
DecoderShape shape_of(const nanobind::dict& traits);

Activation activation_named(const std::string& name);

}  // namespace sparing
