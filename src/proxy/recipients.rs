//! The recipients of a send in international form, in the country of its route. A number means the same at every
//! provider, so it is completed before the first attempt, in the backend's own request. Pure.

use std::borrow::Cow;

use crate::dialect::{DecodedRequest, RecognisedRequest, Request, RequestReadError};
use crate::policy::RouteInput;
use crate::proxy::Mode;
use crate::proxy::request::RequestContext;
use crate::proxy::snapshot::RoutedProviders;
use crate::sms::{Msisdn, NumberReading, NumberingPlan, UnfitNumber};

/// A send as it is delivered.
pub(super) struct RoutedSend<'a> {
    /// The backend's request; with completed numbers, if it had national ones.
    pub(super) request: Cow<'a, Request>,
    pub(super) decoded: DecodedRequest,
    pub(super) routed: RoutedProviders<'a>,
}

/// Why a send with such recipients is not delivered.
pub(super) enum RecipientError {
    /// A recipient cannot be a phone number in the country of the route.
    Unfit {
        unfit: Box<UnfitNumber>,
        route: Option<String>,
    },
    /// The completed request cannot be read.
    Unreadable(RequestReadError),
}

impl<'a> RoutedSend<'a> {
    /// Finds the route, and completes the recipients in its country. An observed request stays as it is.
    pub(super) fn new(
        context: &'a RequestContext,
        recognised: &'a RecognisedRequest,
        decoded: DecodedRequest,
        own_reference: &str,
    ) -> Result<Self, RecipientError> {
        let routed = context.snapshot.routed_providers(
            context.pinned_provider.as_ref(),
            &recognised.dialect,
            |plan| RouteInput {
                recipients: recipients_in(&decoded, plan),
                caller: context.caller.as_deref(),
                dialect: &recognised.dialect.name,
            },
        );
        let send = Self {
            request: Cow::Borrowed(&context.request),
            decoded,
            routed,
        };
        let default = context.snapshot.settings.mode;
        let mode = send.routed.route.map_or(default, |route| route.mode);
        match send.routed.numbering {
            _ if mode == Mode::Observe => Ok(send),
            Some(plan) => send.completed(recognised, plan, own_reference),
            None if send.routed.route.is_none() && context.pinned_provider.is_none() => {
                match send.unfit_everywhere(context) {
                    Some(unfit) => Err(RecipientError::Unfit {
                        unfit: Box::new(unfit),
                        route: None,
                    }),
                    None => Ok(send),
                }
            }
            None => Ok(send),
        }
    }

    /// No route matches. A number that is unfit in the country of every route is why.
    fn unfit_everywhere(&self, context: &RequestContext) -> Option<UnfitNumber> {
        let mut texts = self.decoded.recipients.iter();
        texts.find_map(|text| {
            let countries = context.snapshot.route_countries();
            let readings = countries.map(|plan| plan.read(text).unfit());
            let unfit: Vec<UnfitNumber> = readings.collect::<Option<_>>()?;
            unfit.into_iter().next()
        })
    }

    fn completed(
        self,
        recognised: &RecognisedRequest,
        plan: &NumberingPlan,
        own_reference: &str,
    ) -> Result<Self, RecipientError> {
        let Some(request) = self.completed_request(recognised, plan)? else {
            return Ok(self);
        };
        let decoded = recognised
            .dialect
            .read(recognised, &request, own_reference)
            .map_err(RecipientError::Unreadable)?;
        Ok(Self {
            request: Cow::Owned(request),
            decoded,
            routed: self.routed,
        })
    }

    /// The request with its national numbers completed; none if it has none.
    fn completed_request(
        &self,
        recognised: &RecognisedRequest,
        plan: &NumberingPlan,
    ) -> Result<Option<Request>, RecipientError> {
        let mut has_national = false;
        for text in self.decoded.recipients.iter() {
            match plan.read(text) {
                NumberReading::AsWritten => {}
                NumberReading::National(_) => has_national = true,
                NumberReading::Unfit(unfit) => {
                    let route = self.routed.route.map(|route| route.name.clone());
                    let unfit = Box::new(unfit);
                    return Err(RecipientError::Unfit { unfit, route });
                }
            }
        }
        if !has_national {
            return Ok(None);
        }
        let national = |text: &str| match plan.read(text) {
            NumberReading::National(number) => Some(number),
            NumberReading::AsWritten | NumberReading::Unfit(_) => None,
        };
        let dialect = &recognised.dialect;
        match dialect.replace_recipients(&self.request, &national) {
            Some(request) => Ok(Some(request)),
            // Without its country code it would reach somebody else.
            None => Err(RecipientError::Unreadable(RequestReadError::Missing(
                "the recipient with its country code, which cannot be added in this form",
            ))),
        }
    }
}

/// The numbers that select the route, in the country of that route; none if one of them is no phone number.
fn recipients_in(decoded: &DecodedRequest, plan: Option<&NumberingPlan>) -> Vec<Msisdn> {
    let number = |text: &str| match plan.map(|plan| plan.read(text)) {
        Some(NumberReading::National(number)) => Some(number),
        Some(NumberReading::AsWritten | NumberReading::Unfit(_)) | None => Msisdn::parse(text).ok(),
    };
    let texts = decoded.recipients.iter();
    let texts = texts.filter(|text| !text.trim().is_empty());
    texts.map(number).collect::<Option<_>>().unwrap_or_default()
}
