// The Python face of encoders and encoder-decoders.
#pragma once

#include <nanobind/nanobind.h>

namespace sparing {

void bind_encoders(nanobind::module_& module);

}  // namespace sparing
