//! The recipients of a send in international form, in the country of its route. A number means the same at every
//! provider, so it is completed before the first attempt, in the backend's own request. Pure.

use std::borrow::Cow;

use crate::dialect::{DecodedRequest, RecognisedRequest, Request, RequestReadError};
use crate::policy::{RecipientCountries, RecipientFault, RecipientForm, RouteInput};
use crate::proxy::Mode;
use crate::proxy::request::RequestContext;
use crate::proxy::snapshot::RoutedProviders;
use crate::sms::{Msisdn, NumberReading, NumberingPlan};

/// A send as it is delivered.
pub(super) struct RoutedSend<'a> {
    /// The backend's request; with completed numbers, if it had national ones.
    pub(super) request: Cow<'a, Request>,
    pub(super) decoded: DecodedRequest,
    pub(super) routed: RoutedProviders<'a>,
}

/// Why a send with such recipients is not delivered.
pub(super) enum RecipientError {
    /// A recipient is not a phone number, or lacks a country code that cannot be added.
    Recipient {
        fault: Box<RecipientFault>,
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
        if mode == Mode::Observe {
            return Ok(send);
        }
        let countries = RecipientCountries {
            own: send.routed.numbering,
            routes: match context.pinned_provider {
                None => context.snapshot.route_countries().collect(),
                Some(_) => Vec::new(),
            },
        };
        send.completed(recognised, &countries, own_reference)
    }

    fn completed(
        self,
        recognised: &RecognisedRequest,
        countries: &RecipientCountries<'_>,
        own_reference: &str,
    ) -> Result<Self, RecipientError> {
        let dialect = &recognised.dialect;
        let forms = self.judge(dialect.uncompleted_field(&self.decoded), countries);
        let forms = forms.map_err(|fault| RecipientError::Recipient {
            fault: Box::new(fault),
            route: self.routed.route.map(|route| route.name.clone()),
        })?;
        if forms.iter().all(|form| *form == RecipientForm::AsWritten) {
            return Ok(self);
        }
        let national = |text: &str| match countries.judge(text) {
            Ok(RecipientForm::Completed(number)) => Some(number),
            Ok(RecipientForm::AsWritten) | Err(_) => None,
        };
        // Without its country code it would reach somebody else.
        let not_completed = || {
            RecipientError::Unreadable(RequestReadError::Missing(
                "the recipient with its country code, which cannot be added in this form",
            ))
        };
        let request = dialect.replace_recipients(&self.request, &national);
        let request = request.ok_or_else(not_completed)?;
        let decoded = dialect
            .read(recognised, &request, own_reference)
            .map_err(RecipientError::Unreadable)?;
        if !is_completed(&decoded, &forms) {
            return Err(not_completed());
        }
        Ok(Self {
            request: Cow::Owned(request),
            decoded,
            routed: self.routed,
        })
    }

    /// What becomes of each recipient.
    fn judge(
        &self,
        uncompleted_field: Option<&str>,
        countries: &RecipientCountries<'_>,
    ) -> Result<Vec<RecipientForm>, RecipientFault> {
        if let Some(field) = uncompleted_field
            && countries.has_any()
        {
            return Err(RecipientFault::Field(field.to_owned()));
        }
        let texts = self.decoded.recipients.iter();
        texts.map(|text| countries.judge(text)).collect()
    }
}

/// Whether every number that was to be completed is, in its place.
fn is_completed(decoded: &DecodedRequest, forms: &[RecipientForm]) -> bool {
    let has_form = |(text, form): (&str, &RecipientForm)| match form {
        RecipientForm::AsWritten => true,
        RecipientForm::Completed(number) => Msisdn::parse(text).is_ok_and(|own| own == *number),
    };
    decoded.recipients.iter().count() == forms.len()
        && decoded.recipients.iter().zip(forms).all(has_form)
}

/// The numbers that select the route, read in the country of that route; none if one of them is not a phone number.
fn recipients_in(decoded: &DecodedRequest, plan: Option<&NumberingPlan>) -> Vec<Msisdn> {
    let number = |text: &str| match plan.map(|plan| plan.read(text)) {
        Some(NumberReading::National(number)) => Some(number),
        Some(NumberReading::AsWritten | NumberReading::Unfit(_)) | None => Msisdn::parse(text).ok(),
    };
    let texts = decoded.recipients.iter();
    let texts = texts.filter(|text| !text.trim().is_empty());
    texts.map(number).collect::<Option<_>>().unwrap_or_default()
}
