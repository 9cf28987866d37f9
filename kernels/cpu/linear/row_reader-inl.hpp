// Rows of codes, as products read them: whole steps of codes and whole groups of scales. Included once for each
// instruction set, hence the guard that toggles.

#if defined(HACK_KERNELS_CPU_LINEAR_ROW_READER_INL) == defined(HWY_TARGET_TOGGLE)
#ifdef HACK_KERNELS_CPU_LINEAR_ROW_READER_INL
#undef HACK_KERNELS_CPU_LINEAR_ROW_READER_INL
#else
#define HACK_KERNELS_CPU_LINEAR_ROW_READER_INL
#endif

#include <cstddef>
#include <cstring>

#include "kernels/cpu/codec/code_dot-inl.hpp"
#include "kernels/cpu/codec/codecs-inl.hpp"
#include "kernels/cpu/memory/scratch.hpp"
#include "kernels/matrix_view.hpp"

HWY_BEFORE_NAMESPACE();
namespace hack::kernels::HWY_NAMESPACE {

#if HACK_HAS_CODE_DOT

/// Blocks of a row whose scales are taken together: as many as a vector has floats.
constexpr index_t scale_group = 8;

/// Codes of a row in steps of dot_blocks blocks, and its scales in groups. Reading whole steps and groups passes the
/// row's end by less than one of them; x is zero there.
template <class C>
struct RowBytes {
  static constexpr index_t step_codes = C::dot_blocks * rounded_block * spec_of(C::codec).code_bits / 8;
  static constexpr index_t group_scales =
      scales_rows<C> ? 0 : scale_group * rounded_block / spec_of(C::codec).block * spec_of(C::codec).scale_bytes;

  explicit RowBytes(const WeightView<>& w)
      : codes(code_bytes(C::codec, w.ld)),
        scales(scale_bytes(C::codec, w.ld)),
        read_codes((w.cols + C::dot_blocks * rounded_block - 1) / (C::dot_blocks * rounded_block) * step_codes),
        read_scales((w.cols + scale_group * rounded_block - 1) / (scale_group * rounded_block) * group_scales) {}

  index_t codes, scales;            ///< from one row to the next
  index_t read_codes, read_scales;  ///< of one row
};

/// R rows of w, or copies of them.
template <index_t R>
struct RowPointers {
  const std::byte* codes[R];
  const std::byte* scales[R];
};

/// The rows of w. Of rows near the end of its memory a copy is read, which has room behind it.
template <class C>
class RowReader {
 public:
  /// `at_once`: the most rows that are asked for at once; their copies lie in `room` until it is used anew.
  RowReader(const WeightView<>& w, index_t at_once, Scratch& room)
      : bytes_(w),
        codes_(static_cast<const std::byte*>(w.data)),
        scales_(w.scales),
        own_codes_(code_bytes(C::codec, w.cols)),
        own_scales_(scale_bytes(C::codec, w.cols)),
        all_codes_((w.rows - 1) * bytes_.codes + own_codes_),
        all_scales_((w.rows - 1) * bytes_.scales + own_scales_),
        room_(bytes_.read_codes + bytes_.read_scales) {
    const index_t floats = at_once * room_ / 4 + 1;
    copies_ = reinterpret_cast<std::byte*>(room.get(floats));
    std::memset(copies_, 0, static_cast<std::size_t>(floats) * sizeof(float));
  }

  /// Rows `from`[0] to [R - 1].
  template <index_t R>
  HWY_INLINE RowPointers<R> rows(const index_t* from) const {
    RowPointers<R> out;
#pragma GCC unroll 4
    for (index_t r = 0; r < R; ++r) {
      const index_t codes = from[r] * bytes_.codes, scales = from[r] * bytes_.scales;
      out.codes[r] = codes_ + codes;
      out.scales[r] = scales_ + scales;
      if (codes + bytes_.read_codes > all_codes_ || scales + bytes_.read_scales > all_scales_) copy(r, out);
    }
    return out;
  }

 private:
  template <index_t R>
  void copy(index_t r, RowPointers<R>& rows) const {
    std::byte* to = copies_ + r * room_;
    std::memcpy(to, rows.codes[r], static_cast<std::size_t>(own_codes_));
    rows.codes[r] = to;
    if constexpr (!scales_rows<C>) {
      std::memcpy(to + bytes_.read_codes, rows.scales[r], static_cast<std::size_t>(own_scales_));
      rows.scales[r] = to + bytes_.read_codes;
    }
  }

  RowBytes<C> bytes_;
  const std::byte* codes_;
  const std::byte* scales_;
  index_t own_codes_, own_scales_;  // of a row without what is read behind it
  index_t all_codes_, all_scales_;
  index_t room_;  // bytes of a copy
  std::byte* copies_;
};

/// Calls f with the codec's C, of codecs whose codes are multiplied with codes; whether it is one.
template <class F>
HWY_INLINE bool with_dot_codec(Codec codec, const F& f) {
  bool known = false;
  with_codec(codec, [&]<class C>(C c) HWY_ATTR {
    if constexpr (has_code_dot<C>) {
      known = true;
      f(c);
    }
  });
  return known;
}

#endif  // HACK_HAS_CODE_DOT

}  // namespace hack::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
